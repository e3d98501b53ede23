#pragma once

#include <string>

namespace fulmar::test::built {

// Paths of what the build made for tests; a test depends on the targets whose paths it uses. They
// stand in one small source, so that a test compiles alike wherever the build folder lies.
extern const std::string program;        // fulmar
extern const std::string hdf5;           // fulmar-hdf5; empty: not built
extern const std::string netcdf;         // fulmar-netcdf; empty: not built
extern const std::string no_space;       // to be preloaded: writing fails as on a full disk
extern const std::string failing_calls;  // to be preloaded: system calls fail as told
extern const std::string fake_cuda;      // the CUDA backend's library on the emulator
extern const std::string unloadable;     // a library that needs an absent one
extern const std::string simt_broken;    // kernels that the emulator must refuse
extern const std::string counted;        // the emulator that counts; empty: not built
extern const std::string real_cuda;      // the CUDA backend's library; empty: not built

}  // namespace fulmar::test::built
