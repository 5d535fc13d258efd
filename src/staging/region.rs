//! Which elements an operand consists of, and the fewest rectangular copies that fetch exactly them.
//!
//! An operand is `count` column-major matrices of `rows × cols` with leading dimension `ld ≥ rows`, either
//! `stride` elements apart or wherever a list of addresses says. On the host it lies packed, without the
//! gaps; [`HostLayout`] tells the engine where.

use crate::boundary::status::Error;

/// Where the matrices of a batch begin on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bases {
    /// The i-th at `base + i · stride` elements; stride 0 means all are the same one.
    Strided {
        /// Device address of the first matrix.
        base: u64,
        /// Distance between matrices, elements; may be negative.
        stride: i64,
        /// How many.
        count: usize,
    },
    /// Each at an address of its own.
    List(Vec<u64>),
}

/// The elements of one operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Contiguous elements in a column.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Distance between columns, elements.
    pub ld: usize,
    /// The matrices.
    pub bases: Bases,
}

/// Where element (row, col) of matrix `i` lies in the packed host copy:
/// `i · batch_stride + col · col_stride + row`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLayout {
    /// Distance between columns, elements.
    pub col_stride: usize,
    /// Distance between matrices, elements; 0 if all are the same one.
    pub batch_stride: usize,
    /// Elements in all.
    pub elements: usize,
}

/// `height` runs of `width` elements each, at these pitches on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// Device address of the first run.
    pub device: u64,
    /// Index of the first run in the host copy, elements.
    pub host: usize,
    /// Elements in a run.
    pub width: usize,
    /// Runs.
    pub height: usize,
    /// Elements from run to run on the device.
    pub device_pitch: usize,
    /// Elements from run to run on the host.
    pub host_pitch: usize,
}

/// The copies that fetch a region, or put it back, and the host layout they make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPlan {
    /// The host side.
    pub layout: HostLayout,
    /// The copies; no two of them touch the same host element.
    pub rectangles: Vec<Rectangle>,
}

impl Region {
    /// Plans the copies for elements of `element_bytes`; sizes beyond the address space are refused.
    pub fn plan(&self, element_bytes: usize) -> Result<CopyPlan, Error> {
        let matrix = self.rows.checked_mul(self.cols).ok_or(Error::AllocFailed)?;
        // The last column ends at (cols − 1)·ld + rows; an extent that overflows can't be allocated memory.
        let extent =
            self.cols.saturating_sub(1).checked_mul(self.ld).and_then(|last| last.checked_add(self.rows));
        extent.and_then(|elements| elements.checked_mul(element_bytes)).ok_or(Error::AllocFailed)?;
        if matrix == 0 {
            let layout = HostLayout { col_stride: self.rows, batch_stride: 0, elements: 0 };
            return Ok(CopyPlan { layout, rectangles: Vec::new() });
        }
        match &self.bases {
            Bases::Strided { base, stride, count } => {
                self.plan_strided(matrix, *base, *stride, *count, element_bytes)
            }
            Bases::List(addresses) => {
                let layout = self.packed(matrix, addresses.len())?;
                let at = |(index, &device): (usize, &u64)| self.one_matrix(device, index * matrix);
                Ok(CopyPlan { layout, rectangles: addresses.iter().enumerate().map(at).collect() })
            }
        }
    }

    fn packed(&self, matrix: usize, count: usize) -> Result<HostLayout, Error> {
        let elements = matrix.checked_mul(count).ok_or(Error::AllocFailed)?;
        Ok(HostLayout { col_stride: self.rows, batch_stride: matrix, elements })
    }

    /// One matrix as one copy: a single run where it has no gaps.
    fn one_matrix(&self, device: u64, host: usize) -> Rectangle {
        let (rows, cols) = (self.rows, self.cols);
        if self.ld == rows || cols == 1 {
            let width = rows * cols;
            Rectangle { device, host, width, height: 1, device_pitch: width, host_pitch: width }
        } else {
            Rectangle { device, host, width: rows, height: cols, device_pitch: self.ld, host_pitch: rows }
        }
    }

    fn plan_strided(
        &self,
        matrix: usize,
        base: u64,
        stride: i64,
        count: usize,
        element_bytes: usize,
    ) -> Result<CopyPlan, Error> {
        let (rows, cols, ld) = (self.rows, self.cols, self.ld);
        if count <= 1 || stride == 0 {
            let layout = HostLayout { col_stride: rows, batch_stride: 0, elements: matrix * count.min(1) };
            let rectangles = if count == 0 { Vec::new() } else { vec![self.one_matrix(base, 0)] };
            return Ok(CopyPlan { layout, rectangles });
        }
        let layout = self.packed(matrix, count)?;
        if let Ok(step) = usize::try_from(stride) {
            if ld == rows && step == matrix {
                let width = layout.elements;
                let whole = Rectangle {
                    device: base,
                    host: 0,
                    width,
                    height: 1,
                    device_pitch: width,
                    host_pitch: width,
                };
                return Ok(CopyPlan { layout, rectangles: vec![whole] });
            }
            if ld.checked_mul(cols) == Some(step) {
                // The batch goes on where the columns end: one rectangle of cols·count columns.
                let height = cols.checked_mul(count).ok_or(Error::AllocFailed)?;
                let whole = Rectangle {
                    device: base,
                    host: 0,
                    width: rows,
                    height,
                    device_pitch: ld,
                    host_pitch: rows,
                };
                return Ok(CopyPlan { layout, rectangles: vec![whole] });
            }
            if step == rows && count.checked_mul(rows).is_some_and(|width| width <= ld) {
                // The batch lies side by side within the columns (attention heads): fetch whole rows of it.
                let width = count * rows;
                let whole = Rectangle {
                    device: base,
                    host: 0,
                    width,
                    height: cols,
                    device_pitch: ld,
                    host_pitch: width,
                };
                let layout = HostLayout { col_stride: width, batch_stride: rows, ..layout };
                return Ok(CopyPlan { layout, rectangles: vec![whole] });
            }
        }
        let distance = i128::from(stride) * element_bytes as i128;
        let at = |index: usize| {
            let device = i128::from(base) + distance * index as i128;
            u64::try_from(device)
                .map(|device| self.one_matrix(device, index * matrix))
                .map_err(|_| Error::BadAddress("stride"))
        };
        Ok(CopyPlan { layout, rectangles: (0..count).map(at).collect::<Result<_, _>>()? })
    }
}

impl Rectangle {
    /// The same copy with bytes for elements.
    #[must_use]
    pub fn in_bytes(self, element_bytes: usize) -> Rectangle {
        Rectangle {
            device: self.device,
            host: self.host * element_bytes,
            width: self.width * element_bytes,
            height: self.height,
            device_pitch: self.device_pitch * element_bytes,
            host_pitch: self.host_pitch * element_bytes,
        }
    }

    /// Bytes from the first to behind the last one on the device, of a copy of bytes.
    pub fn device_extent(self) -> usize {
        self.height.saturating_sub(1) * self.device_pitch + self.width
    }
}

impl CopyPlan {
    /// Bytes that the copies move.
    pub fn bytes(&self, element_bytes: usize) -> u64 {
        self.rectangles.iter().map(|copy| (copy.width * copy.height * element_bytes) as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strided(rows: usize, cols: usize, ld: usize, stride: i64, count: usize) -> CopyPlan {
        Region { rows, cols, ld, bases: Bases::Strided { base: 4096, stride, count } }.plan(4).unwrap()
    }

    /// Runs the plan on a "device" whose element at address 4096 + 4·i is i; every host element.
    fn fetched(plan: &CopyPlan) -> Vec<i64> {
        let mut host = vec![i64::MIN; plan.layout.elements];
        for copy in &plan.rectangles {
            for run in 0..copy.height {
                for column in 0..copy.width {
                    let source = (copy.device as i64 - 4096) / 4 + (run * copy.device_pitch + column) as i64;
                    host[copy.host + run * copy.host_pitch + column] = source;
                }
            }
        }
        host
    }

    #[test]
    fn every_plan_brings_each_element_to_its_place_and_nothing_else() {
        for (rows, cols, ld, stride, count) in [
            (3, 4, 3, 12, 5),
            (3, 4, 5, 20, 5),
            (3, 4, 5, 100, 2),
            (3, 4, 20, 3, 5),
            (3, 4, 20, 4, 5),
            (3, 4, 5, 0, 5),
            (3, 1, 7, 7, 2),
            (1, 4, 9, 2, 3),
            (2, 2, 2, -4, 3),
            (3, 4, 7, 28, 1),
        ] {
            let plan = strided(rows, cols, ld, stride, count);
            let host = fetched(&plan);
            assert!(host.iter().all(|&element| element != i64::MIN), "a host element was never fetched");
            for batch in 0..count {
                for col in 0..cols {
                    for row in 0..rows {
                        let index = batch * plan.layout.batch_stride + col * plan.layout.col_stride + row;
                        let want = batch as i64 * stride + (col * ld + row) as i64;
                        assert_eq!(host[index], want, "{rows}x{cols} ld{ld} stride{stride} batch{batch}");
                    }
                }
            }
        }
    }

    #[test]
    fn dense_and_interleaved_batches_take_one_copy() {
        assert_eq!(strided(3, 4, 3, 12, 5).rectangles.len(), 1);
        assert_eq!(strided(3, 4, 5, 20, 5).rectangles.len(), 1);
        assert_eq!(strided(3, 4, 20, 3, 5).rectangles.len(), 1);
        assert_eq!(strided(3, 4, 5, 0, 5).rectangles.len(), 1);
        assert_eq!(strided(3, 4, 5, 100, 2).rectangles.len(), 2);
    }

    #[test]
    fn only_the_rectangle_is_counted_not_the_gaps() {
        assert_eq!(strided(3, 4, 5, 20, 5).bytes(4), 3 * 4 * 5 * 4);
        assert_eq!(strided(3, 4, 5, 0, 5).bytes(4), 3 * 4 * 4);
    }

    #[test]
    fn empty_regions_need_no_copy() {
        assert!(strided(0, 4, 1, 0, 1).rectangles.is_empty());
        assert!(strided(3, 0, 3, 0, 1).rectangles.is_empty());
        assert!(strided(3, 4, 3, 12, 0).rectangles.is_empty());
    }

    #[test]
    fn sizes_beyond_the_address_space_are_refused() {
        let region = Region {
            rows: 1 << 40,
            cols: 1 << 40,
            ld: 1 << 40,
            bases: Bases::Strided { base: 0, stride: 0, count: 1 },
        };
        assert_eq!(region.plan(4), Err(Error::AllocFailed));
    }
}
