//! Recurrent networks by the v8 interface: forward, backward data, backward weights, and the sizes and places that
//! a program asks for first.
//!
//! | operand            | shape                                   | forward | data     | weights |
//! |--------------------|-----------------------------------------|---------|----------|---------|
//! | x, dx              | sequences of `inputSize` vectors        | read    | dx written | read  |
//! | y, dy              | sequences of directions·`projSize`      | written | read     | read    |
//! | hx, hy, dhx, dhy   | [layers·directions, batch, projSize]    | hx → hy | dhy → dhx | hx read |
//! | cx, cy, dcx, dcy   | [layers·directions, batch, hiddenSize]  | cx → cy | dcy → dcx |        |
//! | weights            | where `cudnnGetRNNWeightParams` says    | read    | read     | dw added to |
//! | reserve space      | gates and states, our own format        | written | updated  | read    |
//!
//! The reserve space begins with a mark: what the real library's forward call has left there is not understood, and
//! the backward call then keeps the real library's own status. Projections are served for LSTM, as cuDNN has them.
//! Errors: `BAD_PARAM` null, sizes that do not belong together, a short weight or reserve space.
//! Source: <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-adv-library.html#cudnnrnnforward>.

use std::ffi::{c_int, c_void};

use gpucompat_engine::{self as engine, DropoutSeed, Layout, Real, RnnStates, RnnStatesMut, RnnTraining};

use super::descriptor::TensorDesc;
use super::operand::{Arriving, Leaving, Operand, Precision, Scalars, optional, served};
use super::rnn_desc::{RnnDesc, SequenceDesc};
use super::rnn_reserve::{Pass, Reserve};
use super::rnn_sequences::{Sequences, SequencesOut};
use crate::boundary::status::Error;
use crate::entry::call::Call;
use crate::entry::route::Served;
use crate::staging::host_buffer::Plain;

macro_rules! cudnn_rnn_forward {
    ($symbol:ident) => { export! { $symbol of Cudnn (handle: *mut c_void, rnn_desc: *const c_void, mode: c_int,
        device_lengths: *const i32, x_desc: *const c_void, x: *const c_void, y_desc: *const c_void, y: *mut c_void,
        h_desc: *const c_void, hx: *const c_void, hy: *mut c_void,
        c_desc: *const c_void, cx: *const c_void, cy: *mut c_void, weight_bytes: usize, weights: *const c_void,
        work_bytes: usize, work: *mut c_void, reserve_bytes: usize, reserve: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::rnn::forward(handle, rnn_desc, mode, &$crate::entry::cudnn::rnn::Forward {
            x: [x_desc, x], y: [y_desc, y.cast_const()], h: [h_desc, hx, hy.cast_const()], c: [c_desc, cx, cy.cast_const()],
            weights: (weights, weight_bytes), reserve: (reserve, reserve_bytes) }) } };
}
macro_rules! cudnn_rnn_backward_data {
    ($symbol:ident) => { export! { $symbol of Cudnn (handle: *mut c_void, rnn_desc: *const c_void,
        device_lengths: *const i32, y_desc: *const c_void, y: *const c_void, dy: *const c_void,
        x_desc: *const c_void, dx: *mut c_void, h_desc: *const c_void, hx: *const c_void, dhy: *const c_void,
        dhx: *mut c_void, c_desc: *const c_void, cx: *const c_void, dcy: *const c_void, dcx: *mut c_void,
        weight_bytes: usize, weights: *const c_void, work_bytes: usize, work: *mut c_void,
        reserve_bytes: usize, reserve: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::rnn::backward_data(handle, rnn_desc, &$crate::entry::cudnn::rnn::BackwardData {
            y: [y_desc, y, dy], dx: [x_desc, dx.cast_const()], h: [h_desc, hx, dhy, dhx.cast_const()],
            c: [c_desc, cx, dcy, dcx.cast_const()], weights: (weights, weight_bytes), reserve: (reserve, reserve_bytes) }) } };
}
macro_rules! cudnn_rnn_backward_weights {
    ($symbol:ident) => { export! { $symbol of Cudnn (handle: *mut c_void, rnn_desc: *const c_void, mode: c_int,
        device_lengths: *const i32, x_desc: *const c_void, x: *const c_void, h_desc: *const c_void, hx: *const c_void,
        y_desc: *const c_void, y: *const c_void, weight_bytes: usize, dweights: *mut c_void,
        work_bytes: usize, work: *mut c_void, reserve_bytes: usize, reserve: *mut c_void)
        compute($crate::handle::registry::is_ours(handle), 0)
        serve $crate::entry::cudnn::rnn::backward_weights(handle, rnn_desc, mode, &$crate::entry::cudnn::rnn::BackwardWeights {
            x: [x_desc, x], h: [h_desc, hx], y: [y_desc, y], dweights: (dweights, weight_bytes),
            reserve: (reserve, reserve_bytes) }) } };
}

/// The arguments of `cudnnRNNForward`: descriptors with the data they describe, null where there is none.
pub struct Forward {
    /// x.
    pub x: [*const c_void; 2],
    /// y.
    pub y: [*const c_void; 2],
    /// hx and hy.
    pub h: [*const c_void; 3],
    /// cx and cy.
    pub c: [*const c_void; 3],
    /// The weight space and its bytes.
    pub weights: (*const c_void, usize),
    /// The reserve space and its bytes.
    pub reserve: (*mut c_void, usize),
}

/// The arguments of `cudnnRNNBackwardData_v8`.
pub struct BackwardData {
    /// y and dy.
    pub y: [*const c_void; 3],
    /// dx.
    pub dx: [*const c_void; 2],
    /// hx, dhy and dhx.
    pub h: [*const c_void; 4],
    /// cx, dcy and dcx.
    pub c: [*const c_void; 4],
    /// The weight space and its bytes.
    pub weights: (*const c_void, usize),
    /// The reserve space and its bytes.
    pub reserve: (*mut c_void, usize),
}

/// The arguments of `cudnnRNNBackwardWeights_v8`.
pub struct BackwardWeights {
    /// x.
    pub x: [*const c_void; 2],
    /// hx.
    pub h: [*const c_void; 2],
    /// y.
    pub y: [*const c_void; 2],
    /// The gradients' weight space and its bytes.
    pub dweights: (*mut c_void, usize),
    /// The reserve space and its bytes.
    pub reserve: (*mut c_void, usize),
}

/// A `cudnnForwardMode_t`.
pub const TRAINING: c_int = 1;
/// `CUDNN_WGRAD_MODE_SET`; its page says that only `ADD` is supported.
const WEIGHT_GRADIENTS_SET: c_int = 1;

/// One call: the network and its sequences.
struct Network<'c> {
    call: &'c Call,
    desc: RnnDesc,
    x: SequenceDesc,
    y: SequenceDesc,
}

impl<'c> Network<'c> {
    fn of(
        call: &'c Call,
        rnn: *const c_void,
        x: *const c_void,
        y: *const c_void,
    ) -> Result<Network<'c>, Error> {
        let (desc, x, y) =
            (RnnDesc::read(rnn)?, SequenceDesc::read(x, "xDesc")?, SequenceDesc::read(y, "yDesc")?);
        let width = desc.directions() * desc.rnn.projection;
        if x.vector != desc.rnn.input || y.vector != width || x.lengths != y.lengths || x.steps != y.steps {
            return Err(Error::InvalidValue("xDesc or yDesc"));
        }
        Ok(Network { call, desc, x, y })
    }

    fn precision(&self) -> Precision {
        Precision::of(&[self.desc.element])
    }

    fn sequences(name: &'static str, of: &SequenceDesc, data: *const c_void) -> Result<Operand, Error> {
        Operand::of(name, TensorDesc { element: of.element, layout: of.layout() }, data)
    }

    /// A state argument; its descriptor may be null where it is not given.
    fn state(
        &self,
        name: &'static str,
        descriptor: *const c_void,
        data: *const c_void,
        width: usize,
    ) -> Result<Option<Operand>, Error> {
        let dims = [self.desc.rnn.layers * self.desc.directions(), self.x.lengths.len(), width];
        optional(data, || {
            let given = TensorDesc::read(descriptor, name)?;
            let layout = given.layout;
            // PyTorch describes states with further axes of size 1.
            let (first, rest) =
                layout.dims().split_at_checked(dims.len()).ok_or(Error::InvalidValue(name))?;
            if first != dims || rest.iter().any(|&size| size != 1) {
                return Err(Error::InvalidValue(name));
            }
            let layout = Layout::new(first, &layout.strides()[..dims.len()]);
            Operand::of(name, TensorDesc { layout, ..given }, data)
        })
    }

    fn h(
        &self,
        name: &'static str,
        descriptor: *const c_void,
        data: *const c_void,
    ) -> Result<Option<Operand>, Error> {
        self.state(name, descriptor, data, self.desc.rnn.projection)
    }

    fn c(
        &self,
        name: &'static str,
        descriptor: *const c_void,
        data: *const c_void,
    ) -> Result<Option<Operand>, Error> {
        self.state(name, descriptor, data, self.desc.rnn.hidden)
    }

    /// The weight space, or that of the gradients; where the real library has placed the weights in it, they take
    /// no less room than where we do.
    fn weight_space(&self, (data, bytes): (*const c_void, usize)) -> Result<Operand, Error> {
        let elements = bytes / self.desc.element.bytes();
        if elements < self.desc.rnn.weight_elements() {
            return Err(Error::InvalidValue("weightSpaceSize"));
        }
        Operand::flat("weightSpace", self.desc.element, elements, data)
    }

    fn fetch<R: Real + Plain>(&self, operand: Option<Operand>) -> Result<Option<Arriving<'c, R>>, Error> {
        operand.map(|operand| operand.fetch(self.call)).transpose()
    }

    fn result<R: Real + Plain>(&self, operand: Option<Operand>) -> Result<Option<Leaving<'c, R>>, Error> {
        operand.map(|operand| operand.result(self.call, Scalars::PLAIN)).transpose()
    }

    /// Random numbers of a training call: one an element between layers.
    fn dropped_elements(&self) -> usize {
        (self.desc.rnn.layers - 1) * self.x.steps * self.x.lengths.len() * self.y.vector
    }

    fn describe(&self) -> String {
        let rnn = &self.desc.rnn;
        format!(
            "cell={:?} layers={} directions={} input={} hidden={} projection={} steps={} batch={} type={}",
            rnn.cell,
            rnn.layers,
            self.desc.directions(),
            rnn.input,
            rnn.hidden,
            rnn.projection,
            self.x.steps,
            self.x.lengths.len(),
            self.desc.element.name()
        )
    }
}

fn arrived<R: Real>(
    arriving: Option<Arriving<'_, R>>,
) -> Result<Option<super::operand::Arrived<'_, R>>, Error> {
    arriving.map(Arriving::arrived).transpose()
}

fn states<'a, R: Real>(
    h: Option<&'a super::operand::Arrived<'_, R>>,
    c: Option<&'a super::operand::Arrived<'_, R>>,
) -> RnnStates<'a, R> {
    RnnStates { h: h.map(super::operand::Arrived::view), c: c.map(super::operand::Arrived::view) }
}

fn store<'c, R: Real>(leaving: Option<Leaving<'c, R>>, call: &'c Call) -> Result<(), Error> {
    leaving.map_or(Ok(()), |leaving| leaving.store(call))
}

/// `(y, hy, cy) ← network(x, hx, cx)`; training fills the reserve space.
pub fn forward(
    handle: *mut c_void,
    rnn: *const c_void,
    mode: c_int,
    args: &Forward,
) -> Result<Served, Error> {
    let call = Call::on_cudnn(handle)?;
    let network = Network::of(&call, rnn, args.x[0], args.y[0])?;
    let training = mode == TRAINING;
    in_precision!(network.precision(), R => run_forward::<R>(handle, &network, training, args))
}

fn run_forward<R: Real + Plain>(
    handle: *mut c_void,
    network: &Network<'_>,
    training: bool,
    args: &Forward,
) -> Result<Served, Error> {
    let (call, desc, x, y) = (network.call, &network.desc, &network.x, &network.y);
    if training {
        desc.check_dropout(handle)?;
    }
    let weights = desc.weights(handle)?;
    let space = network.weight_space(args.weights)?.fetch::<R>(call)?;
    let hx = network.fetch::<R>(network.h("hx", args.h[0], args.h[1])?)?;
    let cx = network.fetch::<R>(network.c("cx", args.c[0], args.c[1])?)?;
    let x_data = Network::sequences("x", x, args.x[1])?.fetch::<R>(call)?;
    let mut hy = network.result::<R>(network.h("hy", args.h[0], args.h[2])?)?;
    let mut cy = network.result::<R>(network.c("cy", args.c[0], args.c[2])?)?;
    let y_data = Network::sequences("y", y, args.y[1])?.result::<R>(call, Scalars::PLAIN)?;
    let elements = desc.rnn.reserve_elements(&x.lengths, x.steps);
    let mut reserve = if training { Some(Reserve::<R>::new(call, args.reserve, elements)?) } else { None };
    call.transfer.wait()?;
    let dropout = match (training, desc.dropout) {
        (true, Some(dropout)) => dropout.draw(call, network.dropped_elements())?,
        _ => DropoutSeed { seed: 0, offset: 0 },
    };
    let (space, hx, cx, x_data) = (space.arrived()?, arrived(hx)?, arrived(cx)?, x_data.arrived()?);
    let sequences = Sequences::unpack(x, x_data.view())?;
    let mut y_data = SequencesOut::new(y, y_data)?;
    engine::rnn_forward(
        &desc.rnn,
        &x.lengths,
        &weights,
        space.values(),
        sequences.view(x_data.view()),
        states(hx.as_ref(), cx.as_ref()),
        y_data.view(y),
        RnnStatesMut { h: hy.as_mut().map(Leaving::view), c: cy.as_mut().map(Leaving::view) },
        reserve.as_mut().map(|reserve| RnnTraining { reserve: reserve.values(), dropout }),
    );
    if let Some(reserve) = reserve {
        reserve.store(call, Pass::Forward, dropout)?;
    }
    store(hy, call)?;
    store(cy, call)?;
    y_data.store(y, call)?;
    Ok(served(call, network.describe(), "rnn"))
}

/// `(dx, dhx, dcx) ← the gradients for (dy, dhy, dcy)`.
pub fn backward_data(handle: *mut c_void, rnn: *const c_void, args: &BackwardData) -> Result<Served, Error> {
    let call = Call::on_cudnn(handle)?;
    let network = Network::of(&call, rnn, args.dx[0], args.y[0])?;
    in_precision!(network.precision(), R => run_backward_data::<R>(handle, &network, args))
}

fn run_backward_data<R: Real + Plain>(
    handle: *mut c_void,
    network: &Network<'_>,
    args: &BackwardData,
) -> Result<Served, Error> {
    let (call, desc, x, y) = (network.call, &network.desc, &network.x, &network.y);
    let elements = desc.rnn.reserve_elements(&x.lengths, x.steps);
    let (mut reserve, dropout) = Reserve::<R>::fetch(call, Pass::Forward, args.reserve, elements)?;
    let weights = desc.weights(handle)?;
    let space = network.weight_space(args.weights)?.fetch::<R>(call)?;
    let hx = network.fetch::<R>(network.h("hx", args.h[0], args.h[1])?)?;
    let cx = network.fetch::<R>(network.c("cx", args.c[0], args.c[1])?)?;
    let dhy = network.fetch::<R>(network.h("dhy", args.h[0], args.h[2])?)?;
    let dcy = network.fetch::<R>(network.c("dcy", args.c[0], args.c[2])?)?;
    let y_data = Network::sequences("y", y, args.y[1])?.fetch::<R>(call)?;
    let dy_data = Network::sequences("dy", y, args.y[2])?.fetch::<R>(call)?;
    let mut dhx = network.result::<R>(network.h("dhx", args.h[0], args.h[3])?)?;
    let mut dcx = network.result::<R>(network.c("dcx", args.c[0], args.c[3])?)?;
    let dx_data = Network::sequences("dx", x, args.dx[1])?.result::<R>(call, Scalars::PLAIN)?;
    call.transfer.wait()?;
    let (space, hx, cx) = (space.arrived()?, arrived(hx)?, arrived(cx)?);
    let (dhy, dcy, y_data, dy_data) = (arrived(dhy)?, arrived(dcy)?, y_data.arrived()?, dy_data.arrived()?);
    let (y_sequences, dy_sequences) =
        (Sequences::unpack(y, y_data.view())?, Sequences::unpack(y, dy_data.view())?);
    let mut dx_data = SequencesOut::new(x, dx_data)?;
    engine::rnn_backward_data(
        &desc.rnn,
        &x.lengths,
        &weights,
        space.values(),
        states(hx.as_ref(), cx.as_ref()),
        y_sequences.view(y_data.view()),
        dy_sequences.view(dy_data.view()),
        states(dhy.as_ref(), dcy.as_ref()),
        dx_data.view(x),
        RnnStatesMut { h: dhx.as_mut().map(Leaving::view), c: dcx.as_mut().map(Leaving::view) },
        reserve.values(),
        dropout,
    );
    reserve.store(call, Pass::BackwardData, dropout)?;
    store(dhx, call)?;
    store(dcx, call)?;
    dx_data.store(x, call)?;
    Ok(served(call, network.describe(), "rnn"))
}

/// `dw ← dw + the gradients of the weights`, after the backward data call of the same reserve space.
pub fn backward_weights(
    handle: *mut c_void,
    rnn: *const c_void,
    mode: c_int,
    args: &BackwardWeights,
) -> Result<Served, Error> {
    let call = Call::on_cudnn(handle)?;
    let network = Network::of(&call, rnn, args.x[0], args.y[0])?;
    if mode == WEIGHT_GRADIENTS_SET {
        return Err(Error::NotSupported("CUDNN_WGRAD_MODE_SET"));
    }
    in_precision!(network.precision(), R => run_backward_weights::<R>(handle, &network, args))
}

fn run_backward_weights<R: Real + Plain>(
    handle: *mut c_void,
    network: &Network<'_>,
    args: &BackwardWeights,
) -> Result<Served, Error> {
    let (call, desc, x, y) = (network.call, &network.desc, &network.x, &network.y);
    let elements = desc.rnn.reserve_elements(&x.lengths, x.steps);
    let (mut reserve, dropout) = Reserve::<R>::fetch(call, Pass::BackwardData, args.reserve, elements)?;
    let weights = desc.weights(handle)?;
    let hx = network.fetch::<R>(network.h("hx", args.h[0], args.h[1])?)?;
    let x_data = Network::sequences("x", x, args.x[1])?.fetch::<R>(call)?;
    let y_data = Network::sequences("y", y, args.y[1])?.fetch::<R>(call)?;
    let (data, bytes) = args.dweights;
    let added = Scalars { alpha: 1.0, beta: 1.0 };
    let mut dweights = network.weight_space((data.cast_const(), bytes))?.result::<R>(call, added)?;
    call.transfer.wait()?;
    let (hx, x_data, y_data) = (arrived(hx)?, x_data.arrived()?, y_data.arrived()?);
    let (x_sequences, y_sequences) =
        (Sequences::unpack(x, x_data.view())?, Sequences::unpack(y, y_data.view())?);
    engine::rnn_backward_weights(
        &desc.rnn,
        &x.lengths,
        &weights,
        x_sequences.view(x_data.view()),
        hx.as_ref().map(super::operand::Arrived::view),
        y_sequences.view(y_data.view()),
        reserve.values(),
        dropout,
        dweights.values(),
    );
    dweights.store(call)?;
    Ok(served(call, network.describe(), "rnn"))
}
