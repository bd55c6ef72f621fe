//! Tests of decisions: cases from AWS's documentation, random policies against a second evaluator, and texts that
//! nobody meant to be policies.

mod corpus;
mod parsing;
mod random;
mod reference;
mod world;
