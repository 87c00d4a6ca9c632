//! Decides what is on air: a pure state machine over wishes, source states and now.
