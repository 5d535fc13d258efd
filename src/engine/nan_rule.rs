//! What becomes of NaN where values are compared.

/// `cudnnNanPropagation_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanRule {
    /// A NaN among the candidates is the result.
    Propagate,
    /// NaNs are passed over; all NaN gives NaN.
    Ignore,
}
