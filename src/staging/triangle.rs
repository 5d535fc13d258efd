//! One triangle of a square matrix, moved without the other.
//!
//! Half a triangle is a square, which is one rectangle, beside two triangles of half the order. Of these the one
//! along the square is a band of columns that begin one row lower each time: a rectangle as well, whose runs lie
//! `ld + 1` apart. So 2·log₂(n) copies move a triangle of order n; the bands reach into the squares, so that some
//! elements move twice.

use gpucompat_engine::Triangle;

use super::region::{Bases, CopyPlan, HostLayout, Rectangle, Region};
use crate::boundary::status::Error;

/// Plans the copies of one triangle of a region that is a single square matrix; the host side is a full matrix.
pub fn plan_triangle(region: &Region, triangle: Triangle, element_bytes: usize) -> Result<CopyPlan, Error> {
    let whole = region.plan(element_bytes)?;
    let Bases::Strided { base, count: 1, .. } = region.bases else { return Err(Error::Internal) };
    let n = region.rows;
    let (ld, bytes) = (region.ld, element_bytes);
    let mut rectangles = Vec::new();
    let mut add = |row: usize, col: usize, [width, height]: [usize; 2], step: usize| {
        if width > 0 && height > 0 {
            let device = base + ((row + col * ld) * bytes) as u64;
            let (device_pitch, host_pitch) = (ld + step, n + step);
            rectangles.push(Rectangle {
                device,
                host: row + col * n,
                width,
                height,
                device_pitch,
                host_pitch,
            });
        }
    };
    // What is left is a triangle of order `left`: at the end of the diagonal for the lower, at its beginning for
    // the upper one.
    let mut left = n;
    while left > 0 {
        let half = left.div_ceil(2);
        let first = n - left;
        match triangle {
            Triangle::Lower => {
                add(first + half, first, [left - half, half], 0);
                add(first, first, [half, half], 1);
            }
            Triangle::Upper => {
                add(0, left - half, [left - half, half], 0);
                add(left - half + 1 - half, left - half, [half, half], 1);
            }
        }
        left -= half;
    }
    let layout = HostLayout { col_stride: n, ..whole.layout };
    Ok(CopyPlan { layout, rectangles })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_triangle_is_moved_each_element_to_its_place() {
        for triangle in [Triangle::Lower, Triangle::Upper] {
            for n in 0..40 {
                let ld = n + n % 3 + 1;
                let bases = Bases::Strided { base: 4096, stride: 0, count: 1 };
                let plan = plan_triangle(&Region { rows: n, cols: n, ld, bases }, triangle, 8).unwrap();
                let mut moved = vec![false; n * n];
                for copy in &plan.rectangles {
                    for run in 0..copy.height {
                        for place in 0..copy.width {
                            let device = (copy.device - 4096) as usize / 8 + run * copy.device_pitch + place;
                            let host = copy.host + run * copy.host_pitch + place;
                            assert_eq!((device % ld, device / ld), (host % n, host / n));
                            moved[host] = true;
                        }
                    }
                }
                for (index, &moved) in moved.iter().enumerate() {
                    let inside = triangle.rows(index / n, n).contains(&(index % n));
                    assert_eq!(moved, inside, "{triangle:?} n={n} element {index}");
                }
            }
        }
    }

    #[test]
    fn few_copies_move_a_large_triangle() {
        let bases = Bases::Strided { base: 4096, stride: 0, count: 1 };
        let region = Region { rows: 4096, cols: 4096, ld: 5000, bases };
        assert!(plan_triangle(&region, Triangle::Lower, 4).unwrap().rectangles.len() <= 26);
    }
}
