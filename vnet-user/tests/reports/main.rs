//! The state and what is made of its reports, from records to text and JSON.

mod advice;
mod any;
mod expect;
mod file;
mod outputs;
mod records;
mod retain;
mod same;
mod scenarios;
