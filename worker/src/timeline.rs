//! Source time into air time: joins, holes, decode order. Pure.
