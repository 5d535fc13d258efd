//! Results that are computed straight into device memory, where that lies on the host.
//!
//! An operator with an `out` form of its own on the CPU is called with that, on a host tensor on the memory of a fresh device
//! tensor, once it is known what its result looks like: as it did when all that decides about it was the same.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::ground::Ground;
use super::operands::{HostArgument, Operands};
use super::python::Object;
use super::torch::Form;

/// Results that are remembered of one operator; when there are more, all are forgotten but those it is wrong for.
const MOST: usize = 256;

/// Everything that decides what a result looks like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// A tensor on the device.
    Tensor(Form),
    /// A number that stands for a tensor: its type decides, its value does not.
    Number(usize),
    /// One of a kind: None, True, an element type, a memory format.
    Object(usize),
    /// A whole number.
    Whole(i64),
    /// A real number, which decides nothing.
    Real,
    /// So many of the following.
    List(usize),
}

/// What results looked like.
#[derive(Default)]
pub(super) struct Seen(Mutex<FxHashMap<Shape, Option<Form>>>);

impl Seen {
    /// What the result of such a call looked like.
    pub(super) fn form(&self, shape: &Shape) -> Option<Form> {
        self.0.lock().get(shape).cloned().flatten()
    }

    /// Remembers what it looks like, unless such calls were found not to be for this.
    pub(super) fn note(&self, shape: Shape, form: Form) {
        let mut seen = self.0.lock();
        if seen.len() >= MOST {
            seen.retain(|_, form| form.is_none());
            if seen.len() >= MOST {
                seen.clear();
            }
        }
        seen.entry(shape).or_insert(Some(form));
    }

    /// Such calls are computed by the plain form from now on.
    pub(super) fn stop(&self, shape: Shape) {
        self.0.lock().insert(shape, None);
    }
}

impl Ground {
    /// What decides about the result of a call: its arguments, by position and by name. `None` where something may decide
    /// that is not among them: an object of an unknown kind, or, without a real number among the operands, PyTorch's
    /// default type.
    pub(super) fn shape_of<'a>(
        &self,
        arguments: impl Iterator<Item = (usize, &'a HostArgument)>,
        operands: &Operands<'_>,
    ) -> Option<Shape> {
        if !operands.tensors.iter().any(|operand| operand.described.form.is_real()) {
            return None;
        }
        let mut parts = Vec::new();
        for (name, argument) in arguments {
            if name != 0 {
                parts.push(Part::Object(name));
            }
            self.part(argument, operands, &mut parts)?;
        }
        Some(Shape(parts))
    }

    fn part(&self, argument: &HostArgument, operands: &Operands<'_>, parts: &mut Vec<Part>) -> Option<()> {
        match argument {
            HostArgument::Operand(position) => {
                parts.push(Part::Tensor(operands.tensors[*position].described.form.clone()));
            }
            HostArgument::Number(position) => {
                parts.push(Part::Number(self.type_of(operands.numbers[*position].0)));
            }
            HostArgument::List(list) => {
                parts.push(Part::List(list.len()));
                list.iter().try_for_each(|item| self.part(item, operands, parts))?;
            }
            HostArgument::Same(object) => self.plain(*object, parts)?,
        }
        Some(())
    }

    fn plain(&self, object: Object, parts: &mut Vec<Part>) -> Option<()> {
        let [int, float, truth, _] = self.number_types;
        let kind = self.type_of(object);
        if object as usize == self.none || kind == truth || self.singleton_types.contains(&kind) {
            parts.push(Part::Object(object as usize));
        } else if kind == int {
            parts.push(Part::Whole(self.python.whole_number(object)?));
        } else if kind == float {
            parts.push(Part::Real);
        } else if kind == self.list_type || kind == self.tuple_type {
            let items = self.elements(object, kind == self.list_type);
            parts.push(Part::List(items.len()));
            items.into_iter().try_for_each(|item| self.plain(item, parts))?;
        } else {
            return None;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_remembered_for_the_same_shape_alone_and_not_for_ever() {
        let seen = Seen::default();
        let shape = |dim: i64| Shape(vec![Part::Object(7), Part::Whole(dim), Part::Real]);
        let form = Form::of(6, vec![2, 3, 3, 1]);
        seen.note(shape(1), form.clone());
        assert_eq!(seen.form(&shape(1)), Some(form.clone()));
        assert_eq!(seen.form(&shape(2)), None);
        seen.stop(shape(1));
        seen.note(shape(1), form.clone());
        assert_eq!(seen.form(&shape(1)), None, "it was wrong once");
        (0..=MOST as i64).for_each(|dim| seen.note(shape(dim), form.clone()));
        assert_eq!(seen.form(&shape(0)), None, "too many: all were forgotten");
        assert!(seen.form(&shape(MOST as i64)).is_some());
        assert_eq!(seen.form(&shape(1)), None, "but not that");
    }
}
