#include "tools/run/label_choice.h"

#include "data/raster_folder.h"
#include "kernels/error.h"
#include "tools/run/json.h"

namespace fulmar::tools {

void take_from_training(LabelChoice& choice, const ModelInfo& info, const std::string& folder) {
  const Json summary = Json::parse(info.summary, nullptr, false);
  const Json config = summary.is_object() ? summary.value("config", Json::object()) : Json();
  const auto text = [&](const char* entry) {
    return config.is_object() && config.contains(entry) && config.at(entry).is_string()
               ? config.at(entry).get<std::string>()
               : std::string();
  };
  if (!choice.labels) choice.labels = data::has_label_folders(folder) ? "folders" : text("labels");
  if (choice.labels->empty()) choice.labels = data::usual_label_files(folder);
  if (choice.labels->empty())
    usage_error("which files are labels? --labels \"*_label.tif\", or DIR/images and DIR/labels");
  if (!choice.pictures) choice.pictures = text("pictures");
  if (!choice.ignore && config.is_object() && config.contains("ignore") &&
      config.at("ignore").is_array())
    choice.ignore = config.at("ignore").get<std::vector<double>>();
}

}  // namespace fulmar::tools
