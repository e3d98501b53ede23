#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "kernels/thread_pool.h"

namespace fulmar::data {

// Which picture could not be used, and why.
using PictureErrors = std::map<int64_t, std::string>;
using Progress = std::function<void(int64_t done, int64_t total)>;

// Calls body(picture) for each on the pool. File errors are collected instead of ending the work,
// so that what is told about them doesn't depend on the threads; others are thrown on. `progress`
// may be empty; it is called after each picture, by one thread at a time.
PictureErrors for_each_picture(ThreadPool& pool, int64_t count,
                               const std::function<void(int64_t)>& body, const Progress& progress);

// Error(file) with the first of them and the number of the others; nothing where there are none.
void throw_first(const PictureErrors& errors);

}  // namespace fulmar::data
