#pragma once

#include <cstdint>
#include <string>

#include "engine/device.h"
#include "engine/io/checkpoint.h"
#include "engine/network.h"

namespace fulmar::tools {

// Bytes of memory and swap that this machine has, or that a container limits the process to.
uint64_t memory_here();

// Bytes of these that nobody uses now: the program refuses a picture of more before it decodes it.
uint64_t memory_left();

// Throws Error(device) where `bytes` exceed memory_here(); the message says what needs them and
// what to do. Linux promises more memory than it has, and would end the program later instead.
void require_memory(double bytes, const std::string& what, const std::string& remedy);

// The same for a device's memory: a GPU has its own, of which others may have taken some. Where
// `of_batch` of the bytes grow with the batch, the message says which batch fits.
void require_device_memory(double bytes, Device& device, const std::string& what,
                           const std::string& remedy, double of_batch = 0, int64_t batch = 0);

// The same for a network's weights: with their gradients and moments, or while the program draws
// them.
void require_memory_for_weights(const ModelInfo& info, Device& device);

}  // namespace fulmar::tools
