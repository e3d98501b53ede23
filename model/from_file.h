#pragma once

#include <string>

#include "kernels/error.h"

namespace fulmar::model {

// What `make` gives of a model file's contents. Its Error(usage) becomes an Error(file) that names
// the file: whoever reads it didn't write it.
template <class Make>
auto from_file(const std::string& path, const Make& make) {
  try {
    return make();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    file_error(path + ": not a usable model: " + error.what());
  }
}

}  // namespace fulmar::model
