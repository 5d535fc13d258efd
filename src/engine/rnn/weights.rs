//! Where the matrices and biases of a network lie in its weight space.

use super::network::Rnn;

/// Where one matrix and bias of a linear layer lie in the weight space, in elements; `None` where there is
/// none. What `cudnnGetRNNWeightParams` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearPlace {
    /// The matrix, by rows.
    pub matrix: Option<usize>,
    /// The bias.
    pub bias: Option<usize>,
}

/// The places of all linear layers of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RnnWeights {
    places: Vec<Vec<LinearPlace>>,
}

/// Matrices of neighbouring gates that lie one after the other: one matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Where the first begins.
    pub place: usize,
    /// The first one's column among the vectors kept for a step, in vectors.
    pub column: usize,
    /// How many.
    pub count: usize,
}

/// Which of a gate's two matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// The one applied to the layer's input.
    Input,
    /// The one applied to the state.
    State,
}

impl Rnn {
    /// Our own layout: the matrices of all pseudo layers, ids in order, then the biases likewise; no gaps.
    /// The gates' matrices of one operand lie one after the other, so that they are one.
    pub fn own_weights(&self) -> RnnWeights {
        let mut end = 0;
        let mut take = |elements: usize| {
            end += elements;
            end - elements
        };
        let mut matrices = Vec::new();
        for pseudo_layer in 0..self.pseudo_layers() {
            for id in 0..self.linear_count() {
                let shape = self.matrix_shape(pseudo_layer, id);
                matrices.push(shape.map(|[rows, columns]| take(rows * columns)));
            }
        }
        RnnWeights::new(self, |pseudo_layer, id| LinearPlace {
            matrix: matrices[pseudo_layer * self.linear_count() + id],
            bias: self.has_bias(id).then(|| take(self.hidden)),
        })
    }

    /// Elements of the weight space of [`Rnn::own_weights`].
    pub fn weight_elements(&self) -> usize {
        let linear = |pseudo_layer, id| {
            let matrix = self.matrix_shape(pseudo_layer, id).map_or(0, |[rows, columns]| rows * columns);
            matrix + if self.has_bias(id) { self.hidden } else { 0 }
        };
        let ids = 0..self.linear_count();
        (0..self.pseudo_layers()).map(|layer| ids.clone().map(|id| linear(layer, id)).sum::<usize>()).sum()
    }
}

impl RnnWeights {
    /// Asks `place(pseudo layer, id)` for every linear layer, in order.
    pub fn new(rnn: &Rnn, mut place: impl FnMut(usize, usize) -> LinearPlace) -> RnnWeights {
        let mut layer =
            |pseudo_layer: usize| (0..rnn.linear_count()).map(|id| place(pseudo_layer, id)).collect();
        RnnWeights { places: (0..rnn.pseudo_layers()).map(&mut layer).collect() }
    }

    /// Where a linear layer lies.
    pub fn place(&self, pseudo_layer: usize, id: usize) -> LinearPlace {
        self.places[pseudo_layer][id]
    }

    /// Panics unless every matrix and bias of the network has a place inside the weight space.
    pub(super) fn check(&self, rnn: &Rnn, elements: usize) {
        assert_eq!(self.places.len(), rnn.pseudo_layers(), "places of other pseudo layers than {rnn:?}");
        for (pseudo_layer, places) in self.places.iter().enumerate() {
            assert_eq!(places.len(), rnn.linear_count(), "places of other linear layers than {rnn:?}");
            for (id, place) in places.iter().enumerate() {
                if let Some([rows, columns]) = rnn.matrix_shape(pseudo_layer, id) {
                    let end = place.matrix.map(|place| place + rows * columns);
                    assert!(end.is_some_and(|end| end <= elements), "matrix {pseudo_layer}/{id} at {end:?}");
                }
                if rnn.has_bias(id) {
                    let end = place.bias.map(|place| place + rnn.hidden);
                    assert!(end.is_some_and(|end| end <= elements), "bias {pseudo_layer}/{id} at {end:?}");
                }
            }
        }
    }

    /// The matrices of one operand, neighbours joined; none for an input that skips them.
    pub(super) fn runs(&self, rnn: &Rnn, pseudo_layer: usize, operand: Operand) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for gate in 0..rnn.cell.gates() {
            let (id, column) = match operand {
                Operand::Input => (gate, gate),
                Operand::State => (rnn.cell.gates() + gate, rnn.cell.recurrent_column(gate)),
            };
            let Some([rows, columns]) = rnn.matrix_shape(pseudo_layer, id) else { continue };
            let Some(place) = self.places[pseudo_layer][id].matrix else {
                unreachable!("places are checked before they are used")
            };
            match runs.last_mut() {
                Some(run)
                    if run.place + run.count * rows * columns == place
                        && run.column + run.count == column =>
                {
                    run.count += 1;
                }
                _ => runs.push(Run { place, column, count: 1 }),
            }
        }
        runs
    }

    /// The biases of one operand: (where it lies, the column of the vectors kept for a step).
    pub(super) fn biases(&self, rnn: &Rnn, pseudo_layer: usize, operand: Operand) -> Vec<Run> {
        let gates = rnn.cell.gates();
        let run = |gate: usize| {
            let (id, column) = match operand {
                Operand::Input => (gate, gate),
                Operand::State => (gates + gate, rnn.cell.recurrent_column(gate)),
            };
            let place = self.places[pseudo_layer][id].bias.filter(|_| rnn.has_bias(id))?;
            Some(Run { place, column, count: 1 })
        };
        (0..gates).filter_map(run).collect()
    }

    /// A gate's matrix for the state, `[hidden, projection]`.
    pub(super) fn state_matrix<'a, R>(
        &self,
        rnn: &Rnn,
        pseudo_layer: usize,
        gate: usize,
        space: &'a [R],
    ) -> &'a [R] {
        let Some(place) = self.places[pseudo_layer][rnn.cell.gates() + gate].matrix else {
            unreachable!("places are checked before they are used")
        };
        &space[place..place + rnn.hidden * rnn.projection]
    }

    /// The projection matrix, `[projection, hidden]`.
    pub(super) fn projection<'a, R>(
        &self,
        rnn: &Rnn,
        pseudo_layer: usize,
        space: &'a [R],
    ) -> Option<&'a [R]> {
        let id = 2 * rnn.cell.gates();
        let place = if rnn.projects() { self.places[pseudo_layer][id].matrix } else { None };
        place.map(|place| &space[place..place + rnn.projection * rnn.hidden])
    }
}
