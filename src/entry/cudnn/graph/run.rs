//! Computes a graph: operands in, operations in order, results out.
//!
//! Virtual tensors live in host memory for the length of the call. A convolution whose result is consumed by a chain of
//! pointwise operations is followed by one pass over the output for the whole chain.

#![allow(unsafe_code)]

use std::collections::HashMap;

use gpucompat_engine::{
    self as engine, Centering, Layout, NanRule, Normalization, NormalizationGradients, ProgramOutput, Real,
    TensorMut, TensorRef, bf16, f16,
};

use super::fuse::{chain, fuse};
use super::lower::{Graph, GraphTensor, Place};
use super::operation::{Normalize, Operation};
use crate::boundary::args::DataType;
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::cudnn::algorithms::Direction;
use crate::entry::cudnn::descriptor::broadcasts;
use crate::entry::cudnn::operand::{Arrived, Leaving, Operand, Precision, Scalars, served};
use crate::entry::route::Served;
use crate::staging::host_buffer::{HostBuffer, Plain};

/// Where a tensor's values are during the call.
enum Slot<'c, R: Real + Plain> {
    /// Not there yet.
    Empty,
    /// The program's.
    Given(Arrived<'c, R>),
    /// On its way to the program.
    Result(Leaving<'c, R>),
    /// Between operations, or a scalar.
    Held(HostBuffer<R>, Layout),
}

impl<R: Real + Plain> Slot<'_, R> {
    fn view(&self) -> Result<TensorRef<'_, R>, Error> {
        match self {
            Slot::Empty => Err(Error::Internal),
            Slot::Given(arrived) => Ok(arrived.view()),
            Slot::Result(leaving) => Ok(leaving.peek()),
            Slot::Held(values, layout) => Ok(TensorRef::new(values, *layout)),
        }
    }

    fn view_mut(&mut self) -> Result<TensorMut<'_, R>, Error> {
        match self {
            Slot::Empty | Slot::Given(_) => Err(Error::Internal),
            Slot::Result(leaving) => Ok(leaving.view()),
            Slot::Held(values, layout) => Ok(TensorMut::new(values, *layout)),
        }
    }
}

struct Run<'c, 'g, R: Real + Plain> {
    call: &'c Call,
    graph: &'g Graph,
    slots: Vec<Slot<'c, R>>,
    kernel: &'static str,
}

/// Computes `graph` on the addresses that `given` lists by unique id.
pub fn run(call: &Call, graph: &Graph, given: &HashMap<i64, u64>) -> Result<Served, Error> {
    let elements: Vec<DataType> = graph.tensors.iter().map(|tensor| tensor.desc.element).collect();
    in_precision!(Precision::of(&elements), R => {
        let mut run = Run::<R>::stage(call, graph, given)?;
        run.operations()?;
        run.finish()
    })
}

impl<'c, 'g, R: Real + Plain> Run<'c, 'g, R> {
    /// Queues all copies and waits for them.
    fn stage(call: &'c Call, graph: &'g Graph, given: &HashMap<i64, u64>) -> Result<Run<'c, 'g, R>, Error> {
        let count = graph.tensors.len();
        let (mut read, mut written) = (vec![false; count], vec![None; count]);
        for operation in &graph.operations {
            for tensor in operation.writes() {
                written[tensor] = Some(scalars_of(operation));
            }
            for tensor in operation.reads() {
                read[tensor] = true;
                if written[tensor].is_some_and(|scalars| scalars != Scalars::PLAIN) {
                    return Err(Error::NotSupported("a scaled convolution in the middle of a graph"));
                }
            }
        }
        check_sizes(graph)?;
        let address = |tensor: &GraphTensor| {
            given
                .get(&tensor.id)
                .copied()
                .filter(|&address| address != 0)
                .ok_or(Error::InvalidValue("the address of a tensor in the variant pack"))
        };
        let mut slots: Vec<Slot<'c, R>> = (0..count).map(|_| Slot::Empty).collect();
        let mut arriving = Vec::new();
        for (index, tensor) in graph.tensors.iter().enumerate() {
            let operand = |address| Operand { name: "graph_tensor", desc: tensor.desc, address };
            match (tensor.place, written[index]) {
                (Place::Device, Some(scalars)) => {
                    slots[index] = Slot::Result(operand(address(tensor)?).result(call, scalars)?);
                }
                (Place::Device, None) if read[index] => {
                    arriving.push((index, operand(address(tensor)?).fetch::<R>(call)?));
                }
                (Place::Host, None) => slots[index] = scalar(call, tensor, address(tensor)?)?,
                _ => {}
            }
        }
        call.transfer.wait()?;
        for (index, tensor) in arriving {
            slots[index] = Slot::Given(tensor.arrived()?);
        }
        Ok(Run { call, graph, slots, kernel: "graph" })
    }

    fn dims(&self, tensor: usize) -> &'g [usize] {
        let graph: &'g Graph = self.graph;
        graph.tensors[tensor].desc.layout.dims()
    }

    /// Takes the place of a result out of the table, so that it can be written while others are read.
    fn take(&mut self, tensor: usize) -> Result<Slot<'c, R>, Error> {
        match std::mem::replace(&mut self.slots[tensor], Slot::Empty) {
            Slot::Empty => {
                let layout = dense(self.graph.tensors[tensor].desc.layout);
                Ok(Slot::Held(HostBuffer::zeroed(layout.extent())?, layout))
            }
            slot => Ok(slot),
        }
    }

    fn view(&self, tensor: usize) -> Result<TensorRef<'_, R>, Error> {
        self.slots[tensor].view()
    }

    fn operations(&mut self) -> Result<(), Error> {
        let operations = &self.graph.operations;
        let mut next = 0;
        while next < operations.len() {
            let length = chain(&operations[next..], |tensor| self.dims(tensor));
            if length > 0 {
                self.pointwise(next..next + length)?;
                next += length;
            } else {
                self.operation(operations[next])?;
                next += 1;
            }
        }
        Ok(())
    }

    /// Runs a chain; only what leaves it is written.
    fn pointwise(&mut self, range: std::ops::Range<usize>) -> Result<(), Error> {
        let operations = &self.graph.operations;
        let fusion = fuse(&operations[range.clone()]);
        let rest = &operations[range.end..];
        let leaves = |tensor: usize| {
            self.graph.tensors[tensor].place != Place::Virtual
                || rest.iter().any(|operation| operation.reads().contains(&tensor))
        };
        let wanted: Vec<(usize, usize)> =
            fusion.results.iter().copied().filter(|&(_, tensor)| leaves(tensor)).collect();
        let mut places =
            wanted.iter().map(|&(_, tensor)| self.take(tensor)).collect::<Result<Vec<_>, _>>()?;
        let inputs = fusion.inputs.iter().map(|&tensor| self.view(tensor)).collect::<Result<Vec<_>, _>>()?;
        let mut outputs = Vec::new();
        for (&(step, _), place) in wanted.iter().zip(&mut places) {
            outputs.push(ProgramOutput { step, tensor: place.view_mut()? });
        }
        engine::pointwise(&fusion.steps, &inputs, &mut outputs);
        for ((_, tensor), place) in wanted.into_iter().zip(places) {
            self.slots[tensor] = place;
        }
        Ok(())
    }

    fn operation(&mut self, operation: Operation) -> Result<(), Error> {
        match operation {
            Operation::Pointwise { .. } => Err(Error::Internal), // part of a chain
            Operation::Convolution { direction, conv, x, w, y, .. } => {
                let [a, b, result] = match direction {
                    Direction::Forward => [x, w, y],
                    Direction::BackwardData => [w, y, x],
                    Direction::BackwardFilter => [x, y, w],
                };
                let mut place = self.take(result)?;
                let (a, b, to) = (self.view(a)?, self.view(b)?, place.view_mut()?);
                let kernel = match direction {
                    Direction::Forward => engine::conv_forward(&conv, a, b, to),
                    Direction::BackwardData => engine::conv_backward_data(&conv, a, b, to),
                    Direction::BackwardFilter => engine::conv_backward_filter(&conv, a, b, to),
                };
                self.kernel = kernel.name();
                self.slots[result] = place;
                Ok(())
            }
            Operation::Reduction { reduction, x, y } => {
                self.unary(x, y, |x, y| engine::reduce(reduction, NanRule::Propagate, x, y))
            }
            Operation::Pool { pool, x, y } => self.unary(x, y, |x, y| engine::pool_forward(&pool, x, y)),
            Operation::Matmul { a, b, c } => {
                let mut place = self.take(c)?;
                let (a, b) = (self.view(a)?, self.view(b)?);
                engine::matmul(a, b, place.view_mut()?);
                self.kernel = "matmul";
                self.slots[c] = place;
                Ok(())
            }
            Operation::Normalize(norm) => self.normalize(&norm),
            Operation::NormalizeBackward { .. } => self.normalize_backward(&operation),
        }
    }

    fn unary(
        &mut self,
        x: usize,
        y: usize,
        compute: impl FnOnce(TensorRef<'_, R>, TensorMut<'_, R>),
    ) -> Result<(), Error> {
        let mut place = self.take(y)?;
        compute(self.view(x)?, place.view_mut()?);
        self.slots[y] = place;
        Ok(())
    }

    fn normalize(&mut self, norm: &Normalize) -> Result<(), Error> {
        let inv_std = norm.inv_std.ok_or(Error::Internal)?;
        let shape = Layout::packed(self.dims(inv_std));
        if norm.training {
            let epsilon = self.view(norm.epsilon.ok_or(Error::Internal)?)?;
            let epsilon = epsilon.data.first().map_or(0.0, |value| value.to_double());
            let mut mean = HostBuffer::<R>::zeroed(shape.extent())?;
            let mut variance = HostBuffer::<R>::zeroed(shape.extent())?;
            engine::statistics(
                norm.centering,
                self.view(norm.x)?,
                TensorMut::new(&mut mean, shape),
                TensorMut::new(&mut variance, shape),
            );
            let mut place = self.take(inv_std)?;
            crate::entry::cudnn::batch_norm::inverse_deviation(
                TensorRef::new(&variance, shape),
                epsilon,
                place.view_mut()?,
            );
            self.slots[inv_std] = place;
            match norm.mean {
                Some(tensor) => {
                    let mut place = self.take(tensor)?;
                    crate::entry::cudnn::batch_norm::scaled(
                        TensorRef::new(&mean, shape),
                        1.0,
                        place.view_mut()?,
                    );
                    self.slots[tensor] = place;
                    self.apply(norm, None)
                }
                None => self.apply(norm, Some((mean, shape))),
            }
        } else {
            let zeros = HostBuffer::<R>::zeroed(shape.extent())?;
            self.apply(norm, norm.mean.is_none().then_some((zeros, shape)))
        }
    }

    /// y, once the statistics are there; `mean` where the graph has no tensor for it.
    fn apply(&mut self, norm: &Normalize, mean: Option<(HostBuffer<R>, Layout)>) -> Result<(), Error> {
        let mut place = self.take(norm.y)?;
        let mean = match (&mean, norm.mean) {
            (Some((values, shape)), _) => TensorRef::new(values, *shape),
            (None, Some(tensor)) => self.view(tensor)?,
            (None, None) => return Err(Error::Internal),
        };
        let by = Normalization {
            mean,
            inv_std: self.view(norm.inv_std.ok_or(Error::Internal)?)?,
            scale: Some(self.view(norm.scale)?),
            bias: norm.bias.map(|bias| self.view(bias)).transpose()?,
        };
        engine::normalize(self.view(norm.x)?, &by, place.view_mut()?);
        self.slots[norm.y] = place;
        Ok(())
    }

    fn normalize_backward(&mut self, operation: &Operation) -> Result<(), Error> {
        let Operation::NormalizeBackward { centering, x, dy, mean, inv_std, scale, dx, dscale, dbias } =
            *operation
        else {
            return Err(Error::Internal);
        };
        let mut dx_place = self.take(dx)?;
        let mut dscale_place = dscale.map(|tensor| self.take(tensor)).transpose()?;
        let mut dbias_place = dbias.map(|tensor| self.take(tensor)).transpose()?;
        let shape = Layout::packed(self.dims(inv_std));
        let zeros = HostBuffer::<R>::zeroed(shape.extent())?;
        let mean = match (mean, centering) {
            (Some(mean), Centering::Mean) => self.view(mean)?,
            _ => TensorRef::new(&zeros, shape),
        };
        let by =
            Normalization { mean, inv_std: self.view(inv_std)?, scale: Some(self.view(scale)?), bias: None };
        let out = NormalizationGradients {
            dx: dx_place.view_mut()?,
            dscale: dscale_place.as_mut().map(Slot::view_mut).transpose()?,
            dbias: dbias_place.as_mut().map(Slot::view_mut).transpose()?,
        };
        engine::normalize_backward(centering, self.view(x)?, self.view(dy)?, &by, out);
        self.slots[dx] = dx_place;
        for (tensor, place) in [(dscale, dscale_place), (dbias, dbias_place)] {
            if let (Some(tensor), Some(place)) = (tensor, place) {
                self.slots[tensor] = place;
            }
        }
        Ok(())
    }

    /// Writes the results to the device.
    fn finish(self) -> Result<Served, Error> {
        for slot in self.slots {
            if let Slot::Result(leaving) = slot {
                leaving.store(self.call)?;
            }
        }
        Ok(served(self.call, self.graph.text.clone(), self.kernel))
    }
}

/// Judges the sizes of every operation, which the call must not find wrong when it has returned.
fn check_sizes(graph: &Graph) -> Result<(), Error> {
    let dims = |tensor: usize| graph.tensors[tensor].desc.layout.dims();
    let mut next = 0;
    while next < graph.operations.len() {
        let length = chain(&graph.operations[next..], dims);
        if length > 0 {
            let fusion = fuse(&graph.operations[next..next + length]);
            let size = fusion.results.first().map_or(&[][..], |&(_, tensor)| dims(tensor));
            if fusion.inputs.iter().any(|&input| !broadcasts(dims(input), size)) {
                return Err(Error::InvalidValue("sizes of a pointwise operation"));
            }
            next += length;
            continue;
        }
        match graph.operations[next] {
            Operation::Reduction { x, y, .. } if !broadcasts(dims(y), dims(x)) => {
                return Err(Error::InvalidValue("sizes of a reduction"));
            }
            Operation::Matmul { a, b, c } => {
                let layout = |tensor: usize| graph.tensors[tensor].desc.layout;
                if !engine::matmul_fits(layout(a), layout(b), layout(c)) {
                    return Err(Error::InvalidValue("sizes of a matrix product"));
                }
            }
            Operation::Normalize(norm) => {
                let inv_std = norm.inv_std.ok_or(Error::Internal)?;
                if !broadcasts(dims(inv_std), dims(norm.x)) {
                    return Err(Error::InvalidValue("sizes of a normalization"));
                }
                if norm.training && norm.epsilon.is_none() {
                    return Err(Error::InvalidValue("epsilon"));
                }
            }
            _ => {}
        }
        next += 1;
    }
    Ok(())
}

/// α and β of what an operation writes.
fn scalars_of(operation: &Operation) -> Scalars {
    match operation {
        Operation::Convolution { scalars, .. } => *scalars,
        _ => Scalars::PLAIN,
    }
}

/// The layout itself if it has neither gaps nor shared places, else the packed one.
fn dense(layout: Layout) -> Layout {
    let dense = layout.is_injective() && layout.extent() == layout.elements();
    if dense { layout } else { Layout::packed(layout.dims()) }
}

/// A scalar in host memory.
fn scalar<'c, R: Real + Plain>(
    call: &'c Call,
    tensor: &GraphTensor,
    address: u64,
) -> Result<Slot<'c, R>, Error> {
    let layout = tensor.desc.layout;
    if layout.elements() != 1 {
        return Err(Error::NotSupported("a tensor by value that is no scalar"));
    }
    let mut values = HostBuffer::<R>::zeroed(1)?;
    let read = || {
        with_element!(tensor.desc.element, T => {
            let place: *const T = std::ptr::with_exposed_provenance(address as usize);
            // SAFETY: not null (checked where it was found); a tensor by value is one element in host memory.
            Ok(vec![engine::Element::to_real::<R>(unsafe { place.read_unaligned() })])
        })
    };
    values[0] = call.transfer.remember(read)?.first().copied().ok_or(Error::Internal)?;
    Ok(Slot::Held(values, layout))
}
