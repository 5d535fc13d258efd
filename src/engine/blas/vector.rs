//! Vectors with increments.

/// A vector to read: element i is `data[first + i·step]`.
#[derive(Clone, Copy, Debug)]
pub struct Vector<'a, T> {
    data: &'a [T],
    len: usize,
    step: isize,
}

/// A vector to read and write; places between its elements are left alone.
#[derive(Debug)]
pub struct VectorMut<'a, T> {
    data: &'a mut [T],
    len: usize,
    step: isize,
}

/// Where element `index` lies: with a negative step BLAS counts from the far end of the memory.
fn place(len: usize, step: isize, index: usize) -> usize {
    if step < 0 { (len - 1 - index) * step.unsigned_abs() } else { index * step as usize }
}

fn check(slice: usize, len: usize, step: isize) {
    let end = len.saturating_sub(1).checked_mul(step.unsigned_abs()).and_then(|last| last.checked_add(1));
    assert!(
        len == 0 || end.is_some_and(|end| end <= slice),
        "{len} elements at step {step} reach beyond {slice}"
    );
}

impl<'a, T: Copy> Vector<'a, T> {
    /// `len` elements, `step` places apart; a negative step begins at the far end, 0 repeats one element.
    ///
    /// # Panics
    /// If they reach beyond the slice.
    pub fn new(data: &'a [T], len: usize, step: isize) -> Vector<'a, T> {
        check(data.len(), len, step);
        Vector { data, len, step }
    }

    /// How many elements.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// Element `index`.
    pub fn get(self, index: usize) -> T {
        self.data[place(self.len, self.step, index)]
    }

    /// The elements as they lie, if one follows the other.
    pub fn slice(self) -> Option<&'a [T]> {
        (self.step == 1).then(|| &self.data[..self.len])
    }

    /// The elements one after the other.
    pub fn gather(self) -> Vec<T> {
        match self.slice() {
            Some(slice) => slice.to_vec(),
            None => (0..self.len).map(|index| self.get(index)).collect(),
        }
    }
}

impl<'a, T: Copy> VectorMut<'a, T> {
    /// As [`Vector::new`]. With a step of 0 every write goes to the same element, in order.
    ///
    /// # Panics
    /// If they reach beyond the slice.
    pub fn new(data: &'a mut [T], len: usize, step: isize) -> VectorMut<'a, T> {
        check(data.len(), len, step);
        VectorMut { data, len, step }
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The same elements, to read.
    pub fn as_ref(&self) -> Vector<'_, T> {
        Vector { data: self.data, len: self.len, step: self.step }
    }

    /// Element `index`.
    pub fn get(&self, index: usize) -> T {
        self.as_ref().get(index)
    }

    /// Writes element `index`.
    pub fn set(&mut self, index: usize, value: T) {
        self.data[place(self.len, self.step, index)] = value;
    }

    /// The elements as they lie, if one follows the other.
    pub fn slice_mut(&mut self) -> Option<&mut [T]> {
        (self.step == 1).then(|| &mut self.data[..self.len])
    }

    /// Writes all elements.
    pub fn scatter(&mut self, values: &[T]) {
        assert_eq!(values.len(), self.len, "as many values as elements");
        for (index, &value) in values.iter().enumerate() {
            self.set(index, value);
        }
    }
}
