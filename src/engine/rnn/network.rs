//! What a recurrent network is: its cell, its sizes, and where its weights lie.

/// The recurrent unit, `cudnnRNNMode_t`. The equations stand in [`crate::rnn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// One gate, max(0, x); NaN stays NaN. `CUDNN_RNN_RELU`.
    Relu,
    /// One gate, tanh. `CUDNN_RNN_TANH`.
    Tanh,
    /// Input, forget, new memory, output. `CUDNN_LSTM`.
    Lstm,
    /// Reset, update, new. `CUDNN_GRU`.
    Gru,
}

impl Cell {
    /// Gates: matrices applied to the input, and as many to the state.
    pub(super) fn gates(self) -> usize {
        match self {
            Cell::Relu | Cell::Tanh => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// Vectors of `hidden` elements kept for each step: the gates, and for the GRU the recurrent part of
    /// its new gate, which lies behind them.
    pub(super) fn columns(self) -> usize {
        if self == Cell::Gru { 4 } else { self.gates() }
    }

    /// The column that a gate's recurrent product is added to.
    pub(super) fn recurrent_column(self, gate: usize) -> usize {
        if self == Cell::Gru && gate == 2 { 3 } else { gate }
    }
}

/// Which biases there are, `cudnnRNNBiasMode_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RnnBias {
    /// None.
    None,
    /// Those added to the input's products, b_W.
    SingleInput,
    /// Those added to the state's products, b_R.
    SingleRecurrent,
    /// Both.
    Double,
}

/// In which order the steps are walked, `cudnnDirectionMode_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RnnDirection {
    /// From the first step to the last.
    Unidirectional,
    /// That, and from each sequence's last step to the first; the outputs lie side by side.
    Bidirectional,
}

/// What the first layer does with its input, `cudnnRNNInputMode_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RnnInput {
    /// A matrix for each gate.
    Linear,
    /// No matrices: the input itself counts as each gate's product.
    Skip,
}

/// What clipping makes of a cell state that is NaN, `cudnnNanPropagation_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipNan {
    /// It stays NaN.
    Propagate,
    /// It becomes the lower bound.
    Bound,
}

/// The range that an LSTM's cell state is clipped to after each step, `cudnnRNNSetClip_v8`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// Lower bound.
    pub min: f64,
    /// Upper bound, not below the lower.
    pub max: f64,
    /// What becomes of NaN.
    pub nan: ClipNan,
}

/// A recurrent network, `cudnnSetRNNDescriptor_v8`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rnn {
    /// The unit.
    pub cell: Cell,
    /// Which biases.
    pub bias: RnnBias,
    /// One direction or both.
    pub direction: RnnDirection,
    /// What the first layer does with x.
    pub input_mode: RnnInput,
    /// Elements of x at each step.
    pub input: usize,
    /// Elements of a gate.
    pub hidden: usize,
    /// Elements of the state h; `hidden` unless an LSTM projects it to fewer.
    pub projection: usize,
    /// Layers, each fed with the outputs of all directions of the one below.
    pub layers: usize,
    /// Clipping of the cell state, LSTM only.
    pub clip: Option<Clip>,
    /// Probability with which training drops an element of the input of every layer but the first.
    pub dropout: f64,
}

impl Rnn {
    /// 1 or 2.
    pub fn directions(&self) -> usize {
        match self.direction {
            RnnDirection::Unidirectional => 1,
            RnnDirection::Bidirectional => 2,
        }
    }

    /// Layers times directions; number `layer·directions + direction`.
    pub fn pseudo_layers(&self) -> usize {
        self.layers * self.directions()
    }

    /// Elements of y at each step.
    pub fn output(&self) -> usize {
        self.directions() * self.projection
    }

    /// Whether the state is projected.
    pub fn projects(&self) -> bool {
        self.projection != self.hidden
    }

    /// Matrices of a pseudo layer, cuDNN's linear layer ids: those of the input's gates, those of the
    /// state's, and the projection's if there is one.
    pub fn linear_count(&self) -> usize {
        2 * self.cell.gates() + usize::from(self.projects())
    }

    /// Rows × columns of a matrix stored by rows; `None` where [`RnnInput::Skip`] leaves it out.
    ///
    /// # Panics
    /// If there is no such pseudo layer or id.
    pub fn matrix_shape(&self, pseudo_layer: usize, id: usize) -> Option<[usize; 2]> {
        assert!(pseudo_layer < self.pseudo_layers(), "pseudo layer {pseudo_layer} of {self:?}");
        assert!(id < self.linear_count(), "linear layer {id} of {self:?}");
        let layer = pseudo_layer / self.directions();
        match id / self.cell.gates() {
            0 if layer == 0 && self.input_mode == RnnInput::Skip => None,
            0 => Some([self.hidden, self.layer_input(layer)]),
            1 => Some([self.hidden, self.projection]),
            _ => Some([self.projection, self.hidden]),
        }
    }

    /// Whether a linear layer has a bias, `hidden` elements.
    pub fn has_bias(&self, id: usize) -> bool {
        let gates = self.cell.gates();
        match self.bias {
            RnnBias::None => false,
            RnnBias::SingleInput => id < gates,
            RnnBias::SingleRecurrent => (gates..2 * gates).contains(&id),
            RnnBias::Double => id < 2 * gates,
        }
    }

    /// Elements of a layer's input at each step.
    pub(super) fn layer_input(&self, layer: usize) -> usize {
        if layer == 0 { self.input } else { self.output() }
    }

    /// Columns kept for a step: see [`Cell::columns`].
    pub(super) fn gate_width(&self) -> usize {
        self.cell.columns() * self.hidden
    }

    /// Panics unless the sizes make sense together.
    pub(super) fn check(&self) {
        assert!(self.layers > 0, "a network without layers: {self:?}");
        assert!(self.projection == self.hidden || self.cell == Cell::Lstm, "only an LSTM projects: {self:?}");
        assert!(self.projection <= self.hidden, "a projection is no larger than the state: {self:?}");
        assert!(
            self.input_mode == RnnInput::Linear || self.input == self.hidden,
            "an input that skips its matrices is as long as a gate: {self:?}"
        );
        assert!((0.0..=1.0).contains(&self.dropout), "a probability of dropping, not {}", self.dropout);
        assert!(self.clip.is_none_or(|clip| clip.min <= clip.max), "an empty range: {self:?}");
    }
}
