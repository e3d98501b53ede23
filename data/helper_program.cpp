#include "data/helper_program.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "kernels/error.h"

namespace fulmar::data {

namespace fs = std::filesystem;

std::string find_program(const HelperProgram& helper) {
  if (const char* given = std::getenv(helper.variable); given && *given) {
    if (!fs::exists(given))
      file_error(std::string(given) + ", which " + helper.variable +
                 " names, is not there: correct the variable or take it out");
    return given;
  }
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path beside = folder / helper.name,
                 installed = (folder / FULMAR_LIBEXEC_FOLDER / helper.name).lexically_normal();
  for (const fs::path& place : {beside, installed})
    if (fs::exists(place, error)) return place.string();
  file_error(std::string("reading ") + helper.reads + " takes the program " + helper.name +
             ", which is neither at " + beside.string() + " nor at " + installed.string() +
             ": it is built where " + helper.needs + "; tools/setup.sh installs them)");
}

}  // namespace fulmar::data
