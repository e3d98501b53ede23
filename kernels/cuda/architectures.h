#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>

namespace fulmar::cuda {

// Whether code built for `architectures`, a list such as "80-real,90-virtual", runs on a GPU of
// this compute capability: machine code within its major version from its minor version on, PTX
// on everything newer.
inline bool has_code_for(const std::string& architectures, int major, int minor) {
  for (size_t at = 0; at < architectures.size();) {
    const size_t end = std::min(architectures.find(',', at), architectures.size());
    const std::string one = architectures.substr(at, end - at);
    at = end + 1;
    const int built = std::atoi(one.c_str()), asked = 10 * major + minor;
    const bool real = one.find("virtual") == std::string::npos;
    const bool ptx = one.find("real") == std::string::npos;
    if (built <= 0) continue;
    if (real && built / 10 == major && built <= asked) return true;
    if (ptx && built <= asked) return true;
  }
  return false;
}

}  // namespace fulmar::cuda
