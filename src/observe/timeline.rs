//! Bytes over time, in so many equal spans at most: when they are used up, pairs become one, twice as long.

use std::time::Duration;

/// The first spans' length.
const SPAN: Duration = Duration::from_millis(100);
/// More spans than this are joined.
const SPANS: usize = 512;

pub(super) struct Timeline {
    span: Duration,
    bytes: Vec<[u64; 2]>,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { span: SPAN, bytes: Vec::new() }
    }
}

impl Timeline {
    /// Adds bytes that were moved so long after the beginning.
    pub(super) fn add(&mut self, at: Duration, bytes: [u64; 2]) {
        if bytes == [0; 2] {
            return;
        }
        while at.as_nanos() / self.span.as_nanos() >= SPANS as u128 {
            self.bytes = self.bytes.chunks(2).map(sum).collect();
            self.span *= 2;
        }
        let index = (at.as_nanos() / self.span.as_nanos()) as usize;
        if self.bytes.len() <= index {
            self.bytes.resize(index + 1, [0; 2]);
        }
        self.bytes[index] = sum(&[self.bytes[index], bytes]);
    }

    pub(super) fn report(&self) -> gpucompat_report::Timeline {
        gpucompat_report::Timeline {
            span: self.span.as_secs_f64(),
            bytes_in: self.bytes.iter().map(|bytes| bytes[0]).collect(),
            bytes_out: self.bytes.iter().map(|bytes| bytes[1]).collect(),
        }
    }
}

fn sum(spans: &[[u64; 2]]) -> [u64; 2] {
    spans.iter().fold([0; 2], |sum, bytes| [sum[0] + bytes[0], sum[1] + bytes[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_longer_spans_and_the_same_bytes() {
        let mut timeline = Timeline::default();
        for step in 0..2000 {
            timeline.add(SPAN * step, [1, 2]);
        }
        let report = timeline.report();
        assert_eq!(report.span, 0.4);
        assert_eq!(report.bytes_in.len(), 500);
        assert!(
            report.bytes_in.iter().all(|&bytes| bytes == 4)
                && report.bytes_out.iter().all(|&bytes| bytes == 8)
        );
        timeline.add(Duration::from_hours(1), [5, 0]);
        let report = timeline.report();
        assert_eq!(report.bytes_in.iter().sum::<u64>(), 2005);
        assert!(report.bytes_in.len() <= SPANS);
    }
}
