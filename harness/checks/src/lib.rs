//! What must hold in any trace.
