//! Counts the missing rows of a JPEG, from the messages of libjpeg while it decodes.
//!
//! libjpeg never stops on coded data: if data ends or is damaged, it continues with gray until the next restart marker or
//! the end of the scan. It reports each of these events, and [`Tracker`] converts them to rows of blocks. Positions are counted in MCUs (minimum coded units) of the current scan.

/// A message of libjpeg.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// The frame header.
    Frame { width: u32, height: u32 },
    /// A component of the frame, with its sampling factors.
    Component { id: u32, h: u32, v: u32 },
    /// MCUs between restart markers; 0 for none.
    Interval(u32),
    /// A scan header.
    Scan,
    /// A component of the scan.
    ScanComponent { id: u32 },
    /// The end of a scan header, with the scan's first coefficient.
    ScanStarts { first_coefficient: u32 },
    /// A restart was due; `found` if its marker exists, so that decoding continues with real data.
    Restart { found: bool },
    /// From here on decoded data is not real.
    Lost,
    /// Arithmetically coded data was read to its end.
    UsedUp,
}

/// Counts what is missing in each scan.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    width: u64,
    height: u64,
    components: Vec<Component>,
    interval: u64,
    /// Which components the current scan has.
    scan: Vec<usize>,
    /// MCUs of the current scan in a row of blocks of the whole picture; 0 between scans.
    per_row: u64,
    /// Whether the current scan carries the mean brightness of each block.
    has_shape: bool,
    /// Restarts that were due in the current scan.
    restarts: u64,
    /// Start of the current loss.
    since: Option<u64>,
    /// MCUs lost in the current scan.
    lost: u64,
    /// Rows lost in the scan that lost most, if more than one.
    worst: Option<u64>,
}

#[derive(Debug)]
struct Component {
    id: u32,
    h: u64,
    v: u64,
    seen: bool,
}

impl Tracker {
    /// Takes an event that libjpeg reports while it decodes a row of blocks.
    pub(super) fn note(&mut self, event: Event, row: u32) {
        match event {
            Event::Frame { width, height } => (self.width, self.height) = (width.into(), height.into()),
            Event::Component { id, h, v } => {
                self.components.push(Component { id, h: u64::from(h).max(1), v: u64::from(v).max(1), seen: false });
            }
            Event::Interval(interval) => self.interval = interval.into(),
            Event::Scan => {
                self.end_scan();
                self.scan.clear();
            }
            Event::ScanComponent { id } => {
                let new = |(at, component): &(usize, &Component)| component.id == id && !self.scan.contains(at);
                if let Some((at, _)) = self.components.iter().enumerate().find(new) {
                    self.scan.push(at);
                }
            }
            Event::ScanStarts { first_coefficient } => {
                for &at in &self.scan {
                    self.components[at].seen = true;
                }
                self.per_row = self.scan_per_row();
                self.has_shape = self.scan.contains(&0) && first_coefficient == 0;
            }
            Event::Restart { found } => {
                self.restarts += 1;
                let place = self.restarts * self.interval;
                if !found {
                    self.since.get_or_insert(place);
                } else if let Some(since) = self.since.take() {
                    self.lost += place.saturating_sub(since);
                }
            }
            Event::Lost => self.lose(row),
            // Flat parts of a picture take no data at all when coded arithmetically, so only the scan that carries
            // the shape is judged, and that is never flat to the end in a photo of a face. In the last row the decoder
            // always reads ahead.
            Event::UsedUp if self.has_shape && u64::from(row) + 1 < self.rows() => self.lose(row),
            Event::UsedUp => {}
        }
    }

    fn lose(&mut self, row: u32) {
        if self.per_row == 0 || u64::from(row) >= self.rows() {
            return;
        }
        // The place within the row and the interval is unknown: count from where both have begun.
        let place = (u64::from(row) * self.per_row).max(self.restarts * self.interval);
        self.since.get_or_insert(place);
    }

    /// The end of a scan, if one is open.
    fn end_scan(&mut self) {
        if let Some(since) = self.since.take() {
            self.lost += (self.rows() * self.per_row).saturating_sub(since);
        }
        if self.per_row > 0 && self.lost > self.per_row {
            let rows = self.lost.div_ceil(self.per_row).min(self.rows());
            self.worst = self.worst.max(Some(rows));
        }
        self.lost = 0;
        self.restarts = 0;
        self.per_row = 0;
    }

    fn scan_per_row(&self) -> u64 {
        let h_max = self.components.iter().map(|component| component.h).max().unwrap_or(1);
        match self.scan[..] {
            // A scan of one component has its blocks one by one.
            [only] => {
                let Component { h, v, .. } = self.components[only];
                ((self.width * h).div_ceil(8 * h_max) * v).max(1)
            }
            _ => self.width.div_ceil(8 * h_max).max(1),
        }
    }

    /// Rows of blocks (of MCUs) of the picture.
    pub(super) fn rows(&self) -> u64 {
        let v_max = self.components.iter().map(|component| component.v).max().unwrap_or(1);
        self.height.div_ceil(8 * v_max)
    }

    /// No more events: how many rows are missing in the scan that lost most, if more than one.
    pub(super) fn finish(&mut self) -> Option<u64> {
        self.end_scan();
        self.worst
    }

    /// Whether each component had a scan.
    pub(super) fn has_all_components(&self) -> bool {
        self.components.iter().all(|component| component.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of 10 rows with 5 MCUs each, in one scan.
    fn tracked(interval: u32, events: &[(Event, u32)]) -> Option<u64> {
        let mut tracker = Tracker::default();
        tracker.note(Event::Frame { width: 80, height: 160 }, 0);
        tracker.note(Event::Component { id: 1, h: 2, v: 2 }, 0);
        tracker.note(Event::Component { id: 2, h: 1, v: 1 }, 0);
        tracker.note(Event::Interval(interval), 0);
        tracker.note(Event::Scan, 0);
        tracker.note(Event::ScanComponent { id: 1 }, 0);
        tracker.note(Event::ScanComponent { id: 2 }, 0);
        tracker.note(Event::ScanStarts { first_coefficient: 0 }, 0);
        assert_eq!((tracker.rows(), tracker.per_row), (10, 5));
        for (event, row) in events {
            tracker.note(*event, *row);
        }
        tracker.finish()
    }

    const FOUND: Event = Event::Restart { found: true };
    const MISSED: Event = Event::Restart { found: false };

    #[test]
    fn a_complete_scan_loses_nothing() {
        assert_eq!(tracked(0, &[]), None);
        assert_eq!(tracked(25, &[(FOUND, 5)]), None);
        assert_eq!(tracked(0, &[(Event::UsedUp, 10)]), None);
    }

    #[test]
    fn an_early_end_loses_all_rows_from_there() {
        for event in [Event::Lost, Event::UsedUp] {
            assert_eq!(tracked(0, &[(event, 9)]), None);
            assert_eq!(tracked(0, &[(event, 8)]), Some(2));
            assert_eq!(tracked(0, &[(event, 0), (event, 3)]), Some(10));
        }
    }

    #[test]
    fn a_restart_marker_ends_a_loss() {
        let once = [(FOUND, 1), (Event::Lost, 1), (FOUND, 2)];
        assert_eq!(tracked(5, &once), None, "one interval of one row");
        assert_eq!(tracked(10, &[(Event::Lost, 0), (FOUND, 2)]), Some(2), "one interval of two rows");
        let twice = [&once[..], &[(FOUND, 3), (Event::Lost, 3), (FOUND, 4)]].concat();
        assert_eq!(tracked(5, &twice), Some(2), "two intervals of one row");
        assert_eq!(tracked(5, &[(Event::Lost, 0), (MISSED, 1), (MISSED, 2), (FOUND, 3)]), Some(3), "lost markers");
        assert_eq!(tracked(5, &[(MISSED, 1), (FOUND, 2)]), None, "a lost row");
        assert_eq!(tracked(5, &[(MISSED, 1), (MISSED, 2), (FOUND, 3)]), Some(2), "two lost rows");
    }

    #[test]
    fn each_scan_counts_for_itself() {
        let mut tracker = Tracker::default();
        tracker.note(Event::Frame { width: 80, height: 160 }, 0);
        tracker.note(Event::Component { id: 1, h: 2, v: 2 }, 0);
        tracker.note(Event::Component { id: 2, h: 1, v: 1 }, 0);
        for (id, per_row) in [(1, 20), (2, 5)] {
            tracker.note(Event::Scan, 10);
            tracker.note(Event::ScanComponent { id }, 10);
            tracker.note(Event::ScanStarts { first_coefficient: 0 }, 10);
            assert_eq!(tracker.per_row, per_row);
            tracker.note(Event::Lost, 9);
            assert_eq!(tracker.has_all_components(), id == 2);
        }
        assert_eq!(tracker.finish(), None, "one row of each");
    }
}
