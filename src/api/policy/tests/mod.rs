//! Tests of decisions: cases from AWS's documentation, random policies against a second evaluator, and texts that
//! nobody meant to be policies.

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod costs;
#[cfg(test)]
mod parsing;
pub mod picked;
#[cfg(test)]
mod random;
pub mod reference;
pub mod spelled;
pub mod world;
