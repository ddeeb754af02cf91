//! The content of a backup: records, one after the other.
//!
//! Format: the kind of the record (1 byte), the length of its content (u32, little-endian), the content. A table is
//! JSON; the rows after it are its rows, each value with its type (1 byte), numbers little-endian, text and bytes after
//! their length (u32). A reader skips records of unknown kinds from 128 on, and refuses other unknown ones; it skips
//! unknown tables and columns if their record marks them as optional. So a later version can add both.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::error::BackupError;

const TABLE: u8 = 1;
const ROW: u8 = 2;
const END: u8 = 3;
/// From here on, unknown kinds are skipped.
const FIRST_OPTIONAL: u8 = 128;

/// The longest record: 64 MiB. A row has some kilobytes.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// The value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An integer; a time is in milliseconds since 1970.
    Integer(i64),
    /// A number.
    Real(f64),
    /// A truth value.
    Boolean(bool),
}

/// A table, whose rows follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Its name.
    pub name: String,
    /// Its columns, in the order of the values of a row.
    pub columns: Vec<String>,
    /// Columns that a reader may leave out if it does not know them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub optional_columns: Vec<String>,
    /// Whether a reader that does not know the table may leave it out.
    #[serde(default)]
    pub optional: bool,
}

/// A part of a backup.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A table begins.
    Table(TableRecord),
    /// A row of the table.
    Row(Vec<Cell>),
    /// The end, with the number of rows of each table.
    End(BTreeMap<String, u64>),
}

impl Record {
    /// Appends the record.
    ///
    /// # Errors
    /// When it is too long.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), BackupError> {
        let start = out.len();
        out.extend_from_slice(&[0; 5]);
        let kind = match self {
            Self::Table(table) => {
                serde_json::to_writer(&mut *out, table).map_err(std::io::Error::from)?;
                TABLE
            }
            Self::Row(cells) => {
                cells.iter().try_for_each(|cell| write_cell(cell, out))?;
                ROW
            }
            Self::End(rows) => {
                serde_json::to_writer(&mut *out, rows).map_err(std::io::Error::from)?;
                END
            }
        };
        let length = length(out.len() - start - 5)?;
        out[start] = kind;
        out[start + 1..start + 5].copy_from_slice(&length);
        Ok(())
    }

    /// Reads the next record, and skips those that may be skipped.
    ///
    /// # Errors
    /// When the input ends, or holds something else.
    pub fn read(input: &mut impl Read) -> Result<Self, BackupError> {
        loop {
            let mut head = [0; 5];
            input.read_exact(&mut head)?;
            let [kind, length @ ..] = head;
            let length = u32::from_le_bytes(length) as usize;
            if length > MAX_RECORD_BYTES {
                return Err(BackupError::Damaged);
            }
            // Grows with the bytes that are there, not with the length that the record claims.
            let mut content = Vec::with_capacity(length.min(1 << 16));
            if input.by_ref().take(length as u64).read_to_end(&mut content)? != length {
                return Err(BackupError::CutOff);
            }
            return match kind {
                TABLE => serde_json::from_slice(&content).map(Self::Table).map_err(|_| BackupError::Damaged),
                ROW => read_cells(&content).map(Self::Row),
                END => serde_json::from_slice(&content).map(Self::End).map_err(|_| BackupError::Damaged),
                FIRST_OPTIONAL.. => continue,
                _ => Err(BackupError::Newer(format!("records of kind {kind}"))),
            };
        }
    }
}

fn length(bytes: usize) -> Result<[u8; 4], BackupError> {
    let fits = u32::try_from(bytes).ok().filter(|_| bytes <= MAX_RECORD_BYTES);
    fits.map(u32::to_le_bytes).ok_or(BackupError::TooLong(bytes))
}

fn write_cell(cell: &Cell, out: &mut Vec<u8>) -> Result<(), BackupError> {
    match cell {
        Cell::Null => out.push(0),
        Cell::Text(text) => {
            out.push(1);
            out.extend_from_slice(&length(text.len())?);
            out.extend_from_slice(text.as_bytes());
        }
        Cell::Bytes(bytes) => {
            out.push(2);
            out.extend_from_slice(&length(bytes.len())?);
            out.extend_from_slice(bytes);
        }
        Cell::Integer(number) => {
            out.push(3);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Cell::Real(number) => {
            out.push(4);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Cell::Boolean(value) => out.extend_from_slice(&[5, u8::from(*value)]),
    }
    Ok(())
}

fn read_cells(mut rest: &[u8]) -> Result<Vec<Cell>, BackupError> {
    fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], BackupError> {
        let (taken, left) = rest.split_at_checked(count).ok_or(BackupError::Damaged)?;
        *rest = left;
        Ok(taken)
    }
    fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BackupError> {
        take(rest, N)?.try_into().map_err(|_| BackupError::Damaged)
    }
    fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BackupError> {
        let length = u32::from_le_bytes(array(rest)?) as usize;
        take(rest, length)
    }
    let mut cells = Vec::new();
    while let Some((kind, left)) = rest.split_first() {
        rest = left;
        cells.push(match kind {
            0 => Cell::Null,
            1 => Cell::Text(std::str::from_utf8(bytes(&mut rest)?).map_err(|_| BackupError::Damaged)?.to_owned()),
            2 => Cell::Bytes(bytes(&mut rest)?.to_vec()),
            3 => Cell::Integer(i64::from_le_bytes(array(&mut rest)?)),
            4 => Cell::Real(f64::from_le_bytes(array(&mut rest)?)),
            5 => match array(&mut rest)? {
                [0] => Cell::Boolean(false),
                [1] => Cell::Boolean(true),
                _ => return Err(BackupError::Damaged),
            },
            kind => return Err(BackupError::Newer(format!("values of type {kind}"))),
        });
    }
    Ok(cells)
}
