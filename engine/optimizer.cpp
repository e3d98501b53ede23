#include "engine/optimizer.h"

#include <array>

#include "engine/model.h"
#include "engine/ops.h"

namespace fulmar {
namespace {

using Settings = std::vector<std::pair<std::string, Attribute>>;

ValueInfo weight_info() { return {Shape{1}, Role::statistic, DType::f32}; }

struct Name {
  const char* operator()(const AdamW&) const { return "adamw"; }
  const char* operator()(const Sgd&) const { return "sgd"; }
  const char* operator()(const Lars&) const { return "lars"; }
};

struct Describe {
  Settings operator()(const AdamW& how) const {
    return {{"beta1", how.beta1},
            {"beta2", how.beta2},
            {"epsilon", how.epsilon},
            {"weight_decay", how.weight_decay},
            {"decay_scaled_by_lr", how.decay_scaled_by_lr},
            {"keras_epsilon", how.keras_epsilon}};
  }
  Settings operator()(const Sgd& how) const {
    return {
        {"momentum", how.momentum}, {"weight_decay", how.weight_decay}, {"nesterov", how.nesterov}};
  }
  Settings operator()(const Lars& how) const {
    return {{"momentum", how.momentum},
            {"weight_decay", how.weight_decay},
            {"trust_coefficient", how.trust_coefficient},
            {"epsilon", how.epsilon}};
  }
};

struct States {
  std::vector<std::string> operator()(const AdamW&) const {
    return {"/adamw/moment1", "/adamw/moment2"};
  }
  std::vector<std::string> operator()(const Sgd&) const { return {"/sgd/velocity"}; }
  std::vector<std::string> operator()(const Lars&) const { return {"/lars/velocity"}; }
};

// Appends the step to a tape.
struct Update {
  Tape& tape;
  Val g, weight, nonfinite, theta, segments;
  std::vector<Val> states;

  void operator()(const AdamW& how) const {
    ops::adamw(tape, g, weight, nonfinite, theta, states[0], states[1], segments, how);
  }
  void operator()(const Sgd& how) const {
    ops::sgd(tape, g, weight, nonfinite, theta, states[0], segments, how);
  }
  void operator()(const Lars& how) const {
    ops::lars(tape, g, weight, nonfinite, theta, states[0], segments, how);
  }
};

template <size_t... kinds>
std::vector<std::string> states_of_all(std::index_sequence<kinds...>) {
  std::vector<std::string> names;
  for (const Optimizer& kind : {Optimizer(std::in_place_index<kinds>)...})
    for (std::string& name : state_names(kind)) names.push_back(std::move(name));
  return names;
}

}  // namespace

const char* name_of(const Optimizer& optimizer) { return std::visit(Name(), optimizer); }

Settings settings_of(const Optimizer& optimizer) { return std::visit(Describe(), optimizer); }

std::vector<std::string> state_names(const Optimizer& optimizer) {
  return std::visit(States(), optimizer);
}

const std::vector<std::string>& all_state_names() {
  static const std::vector<std::string> names =
      states_of_all(std::make_index_sequence<std::variant_size_v<Optimizer>>());
  return names;
}

Val joined_gradients(Tape& tape, const Model& model, Val loss) {
  std::vector<Val> weights;
  std::vector<int64_t> offsets;
  for (const Model::Parameter& p : model.parameters()) {
    weights.push_back(tape.find(p.name));
    offsets.push_back(p.begin);
  }
  const std::vector<Val> gradients = grad(tape, loss, weights);
  return ops::join(tape, gradients, offsets, model.flat_size());
}

GradientSum gradient_sum(Tape& tape, const Model& model) {
  return {ops::buffer(tape, "/gradient_sum", model.flat_info()),
          ops::buffer(tape, "/weight_sum", weight_info())};
}

GradientSum record_accumulate(Tape& tape, const Model& model, Val g, Val weight) {
  const GradientSum sum = gradient_sum(tape, model);
  ops::accumulate(tape, g, sum.gradient);
  ops::accumulate(tape, weight, sum.weight);
  return sum;
}

Val record_check(Tape& tape, const Model&, std::span<const Val> x) {
  const Val kept = ops::buffer(tape, "/nonfinite", {Shape{1}, Role::index, DType::i32});
  std::vector<Val> all(x.begin(), x.end());
  all.push_back(kept);
  const Val count = ops::count_nonfinite(tape, all);
  ops::store(tape, count, kept);
  return count;
}

void record_update(Tape& tape, const Model& model, const Optimizer& optimizer, Val g, Val weight,
                   Val nonfinite) {
  if (!weight) weight = ops::constant(tape, Shape{1}, 1, Role::statistic);
  if (!nonfinite) nonfinite = record_check(tape, model, std::array{g, weight});
  Update update{tape,
                g,
                weight,
                nonfinite,
                ops::buffer(tape, "/parameters", model.flat_info()),
                ops::buffer(tape, "/segments", model.segments_info()),
                {}};
  for (const std::string& name : state_names(optimizer))
    update.states.push_back(ops::buffer(tape, name, model.flat_info()));
  std::visit(update, optimizer);
}

}  // namespace fulmar
