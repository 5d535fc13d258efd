//! Part of gpucompat's tests.
