//! How much the searches have read.

/// Levels of codes: sketches and fine codes.
const LEVELS: usize = 2;

/// How many rows each level of the searches so far has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SearchStats {
    /// Searches.
    pub searches: u64,
    /// Passes over memory; several searches share one.
    pub passes: u64,
    /// Rows that the searches covered.
    pub rows: u64,
    /// Rows whose sketches were read, and rows whose fine codes were read.
    pub codes: [u64; LEVELS],
    /// Rows compared in f32.
    pub compared: u64,
}

impl SearchStats {
    /// The difference to an earlier reading.
    pub fn since(self, before: Self) -> Self {
        let mut codes = self.codes;
        codes.iter_mut().zip(before.codes).for_each(|(now, then)| *now -= then);
        Self {
            searches: self.searches - before.searches,
            passes: self.passes - before.passes,
            rows: self.rows - before.rows,
            codes,
            compared: self.compared - before.compared,
        }
    }

    pub(in crate::gallery) fn add(&mut self, more: Self) {
        self.searches += more.searches;
        self.passes += more.passes;
        self.rows += more.rows;
        self.codes.iter_mut().zip(more.codes).for_each(|(sum, n)| *sum += n);
        self.compared += more.compared;
    }
}
