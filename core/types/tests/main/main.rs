//! Tests of the vocabulary: one binary, a module per part.

mod crd;
mod effective;
mod expression;
mod keys_page;
mod manifest;
mod policy;
mod reference;
mod roundtrip;
mod schema_check;
mod values;
mod vocabulary;
