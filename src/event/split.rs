//! T4: a body into raw slices, on bytes.
