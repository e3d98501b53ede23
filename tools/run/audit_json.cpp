#include "tools/run/audit_json.h"

namespace fulmar::tools {

using data::Audit;

Json audit_json(const Audit& audit, const std::string& folder) {
  Json parts = Json::array(), formats = Json::array();
  for (const Audit::Part& part : audit.parts) {
    Json classes = Json::object();
    for (const Audit::Class& c : part.classes)
      classes[c.name] = {{"pictures", c.pictures},
                         {"black_fraction", c.black_fraction},
                         {"missing_fraction", c.missing_fraction},
                         {"wholly_black", c.wholly_black},
                         {"constant", c.constant},
                         {"scenes", c.scenes}};
    parts.push_back({{"name", part.name}, {"folder", part.folder}, {"classes", classes}});
  }
  for (const Audit::Format& f : audit.formats)
    formats.push_back({{"width", f.header.width},
                       {"height", f.header.height},
                       {"bands", f.header.bands},
                       {"type", name_of(f.header.type)},
                       {"pictures", f.pictures}});
  Json values = Json::array();
  for (const Audit::Values& v : audit.values) {
    Json bands = Json::array();
    for (const Audit::Band& band : v.bands)
      bands.push_back({{"values", band.values},
                       {"low", band.low},
                       {"high", band.high},
                       {"mean", band.mean},
                       {"deviation", band.deviation}});
    values.push_back({{"type", name_of(v.type)}, {"bands", bands}});
  }
  Json unreadable = Json::array(), scenes = Json::array();
  for (const Audit::Unreadable& u : audit.unreadable)
    unreadable.push_back({{"path", u.path}, {"reason", u.reason}});
  for (const Audit::SharedScene& s : audit.shared_scenes) {
    Json scene{{"scene", s.scene}};
    for (size_t i = 0; i < audit.parts.size(); i++) scene[audit.parts[i].name] = s.parts[i];
    scenes.push_back(std::move(scene));
  }
  return {{"folder", folder},
          {"ok", !audit.has_faults()},
          {"structure", audit.structure},
          {"parts", parts},
          {"scenes", audit.scenes},
          {"sizes", formats},
          {"values", values},
          {"unreadable", unreadable},
          {"two_labels", audit.two_labels},
          {"in_both_parts", audit.in_both_parts},
          {"scenes_in_both_parts", scenes},
          {"mixed_types", audit.mixed_types},
          {"mixed_bands", audit.mixed_bands},
          {"mixed_nodata", audit.mixed_nodata},
          {"repeated", audit.repeated},
          {"constant", audit.constant},
          {"notes", audit.notes},
          {"stray", audit.left_out.stray},
          {"copies", audit.left_out.copies},
          {"made_by_training", audit.left_out.made},
          {"dropped_alpha", audit.dropped_alpha},
          {"remarks", audit.remarks}};
}

}  // namespace fulmar::tools
