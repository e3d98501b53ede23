#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "kernels/thread_pool.h"

namespace fulmar::data {

// The pictures that can't be used, by number, each with the reason.
using PictureErrors = std::map<int64_t, std::string>;
using Progress = std::function<void(int64_t done, int64_t total)>;

// Calls body(picture) for each picture on the pool. Collects file errors instead of stopping, so
// that the threads don't decide which errors are told; throws other errors on. `progress` may be
// empty; one thread at a time calls it, after each picture.
PictureErrors for_each_picture(ThreadPool& pool, int64_t count,
                               const std::function<void(int64_t)>& body, const Progress& progress);

// Error(file) with the first of them and the number of the others; nothing where there are none.
void throw_first(const PictureErrors& errors);

}  // namespace fulmar::data
