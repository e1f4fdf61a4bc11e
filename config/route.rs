//! The way of one request: which version answers it. HOT: nothing here allocates, awaits or reads a clock.
//!
//! [`table`] is what a configuration is compiled to, [`head`] what is read of a request, [`resolve`] the decision and
//! [`explain`] the same decision in words. [`slot`] is the exact split of requests without a routing key.

pub mod explain;
pub mod head;
mod matching;
pub mod resolve;
pub mod slot;
pub mod table;
