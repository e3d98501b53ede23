#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>

namespace fulmar::cuda {

// Whether code built for `architectures`, a list such as "80-real,90-virtual", runs on a GPU of
// this compute capability: machine code within its major version from its minor version on, PTX
// on everything newer; "90a" on nothing but 9.0, "100f" within its major version. CMake's words
// ("native", "all") name no version: CUDA itself refuses there.
inline bool has_code_for(const std::string& architectures, int major, int minor) {
  for (size_t at = 0; at < architectures.size();) {
    const size_t end = std::min(architectures.find(',', at), architectures.size());
    const std::string one = architectures.substr(at, end - at);
    at = end + 1;
    const int built = std::atoi(one.c_str()), asked = 10 * major + minor;
    if (one.empty()) continue;
    if (built <= 0 || built == asked) return true;
    const char suffix = one[std::min(one.find_first_not_of("0123456789"), one.size() - 1)];
    if (suffix == 'a' || built > asked) continue;
    const bool real = one.find("virtual") == std::string::npos;
    const bool ptx = one.find("real") == std::string::npos && suffix != 'f';
    if (ptx || (built / 10 == major && (real || suffix == 'f'))) return true;
  }
  return false;
}

}  // namespace fulmar::cuda
