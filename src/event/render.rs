//! T7: the rendering of an element.
