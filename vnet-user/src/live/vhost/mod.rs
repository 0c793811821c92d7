//! vhost: programs on functions of its modules, what they count, and the workers that they run in.

mod attach;
mod described;
mod learned;
mod read;
mod residuals;
mod served;
mod slot;
mod workers;

pub(crate) use self::{
    attach::{Vhost, handlers, preemptible, wanted, why_absent},
    described::functions,
    learned::{learns, used_has_nheads},
    read::{EMPTY, Known, whole},
    residuals::Residuals,
    served::Served,
    slot::VhostSlot,
    workers::Workers,
};
