// SPDX-License-Identifier: GPL-2.0

//! Making a component known to KVM.

use super::kernel::{
    bindings,
    error::to_result,
    prelude::*,
    sync::Arc,
    types::Opaque, //
};
use super::{
    operations::{Ops, Table},
    ops::{Component, Settings}, //
};

/// KVM knows the component as long as this lives.
///
/// # Invariants
///
/// The table is registered with `kvm_rmi_register()`.
pub struct Registration<C: Component>(Pin<KBox<Table<C>>>);

// SAFETY: The table is not written once it is registered, and may be unregistered by any thread.
unsafe impl<C: Component> Send for Registration<C> {}
// SAFETY: As above.
unsafe impl<C: Component> Sync for Registration<C> {}

impl<C: Component> Registration<C> {
    /// Registers the component.
    ///
    /// # Errors
    ///
    /// `ENODEV` if KVM cannot run realms on this host, `EOPNOTSUPP` if the RMM's vGIC is not enough,
    /// `EBUSY` if it has a component already, `ENOMEM`.
    pub fn new(
        module: &'static ThisModule,
        host: &Arc<C::Host>,
        settings: &Settings,
    ) -> Result<Self> {
        let table = Table {
            ops: Opaque::new(Ops::<C>::table(module, settings)),
            host: host.clone(),
            caps: settings.caps,
        };
        let table = KBox::pin(table, GFP_KERNEL)?;
        // SAFETY: The table is complete, and stays where it is until it is unregistered.
        let result = to_result(unsafe { bindings::kvm_rmi_register(table.ops.get()) });
        result.inspect_err(|error| match *error == EOPNOTSUPP {
            true => pr_err!("no realms: the RMM switches a lesser vGIC than KVM uses\n"),
            false => pr_err!("no realms: KVM cannot run them on this host\n"),
        })?;
        // INVARIANT: Right here.
        Ok(Self(table))
    }
}

impl<C: Component> Drop for Registration<C> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::kvm_rmi_unregister(self.0.ops.get()) };
    }
}
