#include "tests/support/built.h"

namespace fulmar::test::built {

const std::string program = FULMAR_PROGRAM;
const std::string no_space = FULMAR_NO_SPACE;
const std::string failing_calls = FULMAR_FAILING_CALLS;
const std::string fake_cuda = FULMAR_FAKE_CUDA;
const std::string unloadable = FULMAR_UNLOADABLE;
const std::string simt_broken = FULMAR_SIMT_BROKEN;
#ifdef FULMAR_HDF5
const std::string hdf5 = FULMAR_HDF5;
#else
const std::string hdf5;
#endif
#ifdef FULMAR_NETCDF
const std::string netcdf = FULMAR_NETCDF;
#else
const std::string netcdf;
#endif
#ifdef FULMAR_COUNTED
const std::string counted = FULMAR_COUNTED;
#else
const std::string counted;
#endif
#ifdef FULMAR_REAL_CUDA
const std::string real_cuda = FULMAR_REAL_CUDA;
#else
const std::string real_cuda;
#endif

}  // namespace fulmar::test::built
