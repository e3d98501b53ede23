#include "tools/run/stems.h"

#include <filesystem>
#include <set>

namespace fulmar::tools {

std::vector<std::string> stems_of(const std::vector<std::string>& paths,
                                  const data::BandFiles& bands) {
  std::set<std::string> taken;
  std::vector<std::string> stems;
  for (const std::string& path : paths) {
    const std::filesystem::path sample = bands.name_of_sample(path);
    const std::string stem = (bands.match(path) ? sample.filename() : sample.stem()).string();
    std::string name = stem;
    for (int number = 2; !taken.insert(name).second; number++)
      name = stem + "-" + std::to_string(number);
    stems.push_back(name);
  }
  return stems;
}

}  // namespace fulmar::tools
