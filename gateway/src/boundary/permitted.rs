//! `Permitted<T>`: the type that carries the permission. Only this room can make one; the plugin
//! host, delivery and return take nothing else.

/// A value that the policy has allowed to go where it is going. There is no public constructor.
#[derive(Debug)]
pub struct Permitted<T>(T);

impl<T> Permitted<T> {
    /// Invariant: called only in this room, after a decision that allows `value` as a whole.
    pub(super) fn grant(value: T) -> Self {
        Self(value)
    }

    /// Adds to the value what is permitted too. Invariant: as for [`Permitted::grant`].
    pub(super) fn change(&mut self, change: impl FnOnce(&mut T)) {
        change(&mut self.0);
    }

    /// Looks at the value without moving it on.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// Gives the value to the one who carries it over the boundary.
    pub fn release(self) -> T {
        self.0
    }
}
