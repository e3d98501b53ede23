#include "tools/run/run_record.h"

#include <filesystem>
#include <utility>

#include "engine/io/file.h"
#include "engine/io/utc_now.h"
#include "kernels/error.h"
#include "kernels/version.h"

namespace fulmar::tools {

RunRecord::RunRecord(std::string path) : path_(std::move(path)), json_(read_record(path_)) {
  if (json_.is_null()) json_ = {{"sessions", Json::array()}, {"data", nullptr}};
}

void RunRecord::begin(const std::string& command, const Json& machine) {
  json_["sessions"].push_back({{"command", command},
                               {"time", utc_now()},
                               {"machine", machine},
                               {"fulmar", version()},
                               {"commit", commit()},
                               {"ended", nullptr}});
  write();
}

void RunRecord::end(const std::string& how) {
  json_["sessions"].back()["ended"] = how;
  write();
}

void RunRecord::keep_data(Json data) {
  json_["data"] = std::move(data);
  write();
}

void RunRecord::write() const {
  write_file(path_, json_.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Json read_record(const std::string& path) {
  if (!std::filesystem::exists(path)) return nullptr;
  Json json = Json::parse(read_file(path, uint64_t{1} << 26), nullptr, false);
  const bool sound =
      json.is_object() && json.contains("data") && json.value("sessions", Json()).is_array();
  if (!sound)
    file_error(path + ": not a run's record, or cut short; remove it, the run doesn't need it");
  return json;
}

}  // namespace fulmar::tools
