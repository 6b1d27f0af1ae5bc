//! A room's connections: found by the slot that the poll names and by the [`ConnId`] that the engine names.
//!
//! A slot is used again, an id never is: it is a running number with the slot and the room in it, so that an effect
//! for a connection that is gone finds nothing.

use crate::engine::ConnId;

/// Bits of a [`ConnId`] that hold the slot; a room has far fewer connections than that.
const SLOT_BITS: u32 = 16;

/// The room's own bit, so that two rooms never give the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// The control socket.
    Control,
    /// The redirect listeners.
    Redirect,
}

/// Connections of one room.
#[derive(Debug)]
pub(super) struct Slab<T> {
    room: Room,
    slots: Vec<Option<(ConnId, T)>>,
    free: Vec<usize>,
    serial: u64,
}

impl<T> Slab<T> {
    /// A room without connections.
    pub(super) fn new(room: Room) -> Self {
        Self { room, slots: Vec::new(), free: Vec::new(), serial: 0 }
    }

    /// The slot that the next insertion takes.
    pub(super) fn next_slot(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Takes in a connection; `None` where every slot that an id can name is taken.
    pub(super) fn insert(&mut self, value: T) -> Option<ConnId> {
        let slot = self.next_slot();
        if slot >= 1 << SLOT_BITS {
            return None;
        }
        if self.free.pop().is_none() {
            self.slots.push(None);
        }
        self.serial += 1;
        let room = match self.room {
            Room::Control => 0,
            Room::Redirect => 1,
        };
        let conn = ConnId(((self.serial << 1 | room) << SLOT_BITS) | slot as u64);
        self.slots[slot] = Some((conn, value));
        Some(conn)
    }

    /// The connection in `slot`.
    pub(super) fn at(&mut self, slot: usize) -> Option<(ConnId, &mut T)> {
        self.slots.get_mut(slot)?.as_mut().map(|(conn, value)| (*conn, value))
    }

    /// The connection of that id, unless it is gone.
    pub(super) fn of(&mut self, conn: ConnId) -> Option<&mut T> {
        self.at(slot_of(conn)).filter(|(found, _)| *found == conn).map(|(_, value)| value)
    }

    /// Gives the connection of that id out of the room.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<T> {
        self.of(conn)?;
        let slot = slot_of(conn);
        self.free.push(slot);
        self.slots.get_mut(slot)?.take().map(|(_, value)| value)
    }

    /// Every connection, in the order of slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        self.slots.iter().flatten().map(|(conn, value)| (*conn, value))
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// The slot that an id names.
pub(super) fn slot_of(conn: ConnId) -> usize {
    (conn.0 & ((1 << SLOT_BITS) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_but_an_id_never() {
        let mut slab = Slab::new(Room::Control);
        let first = slab.insert("first").unwrap();
        let second = slab.insert("second").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.next_slot(), slot_of(first));
        let third = slab.insert("third").unwrap();
        assert_eq!(slot_of(third), slot_of(first));
        assert_ne!(third, first);
        assert_eq!(slab.of(first), None);
        assert_eq!(slab.of(second), Some(&mut "second"));
        assert_eq!(slab.at(slot_of(third)), Some((third, &mut "third")));
        assert_eq!(slab.len(), 2);
        assert_eq!(slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(), ["third", "second"]);
    }

    #[test]
    fn rooms_do_not_share_ids() {
        let (mut control, mut redirect) = (Slab::new(Room::Control), Slab::new(Room::Redirect));
        let ids: Vec<_> = (0..4).flat_map(|_| [control.insert(()), redirect.insert(())]).collect();
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id));
        }
    }
}
