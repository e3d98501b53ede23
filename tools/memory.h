#pragma once

#include <cstdint>
#include <string>

#include "engine/device.h"
#include "engine/network.h"
#include "engine/preprocess.h"

namespace fulmar::tools {

// Bytes of memory and swap that there are here, or that a container is limited to.
uint64_t memory_here();

// What of that nobody has: a picture of more is refused before it is decoded.
uint64_t memory_left();

// Error(device) where `bytes` are more than memory_here(): what needs them, and what to do. Memory
// is given out by promise, so that without this a program may be ended by the system instead.
void require_memory(double bytes, const std::string& what, const std::string& remedy);

// The same for memory of a device: a GPU has its own, of which some may be taken already.
// Where `of_batch` of the bytes grow with the batch, it says which batch fits.
void require_device_memory(double bytes, Device& device, const std::string& what,
                           const std::string& remedy, double of_batch = 0, int64_t batch = 0);

// The same for a network's weights: with their gradients and moments, or while they are drawn.
void require_memory_for_weights(const Network& network, const Preprocess& preprocess,
                                Device& device);

}  // namespace fulmar::tools
