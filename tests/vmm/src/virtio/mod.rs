// SPDX-License-Identifier: GPL-2.0

//! Virtio devices, on the MMIO transport.
