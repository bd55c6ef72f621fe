//! Tests of access decisions: cases from AWS's documentation, random policies compared with a reference evaluator,
//! arbitrary texts as policies, and the cost in steps.

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
