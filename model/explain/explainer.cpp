#include "model/explain/explainer.h"

#include <algorithm>
#include <utility>

#include "engine/fuse/fuse.h"
#include "kernels/error.h"
#include "model/explain/receptive_field.h"

namespace fulmar::model::explain {
namespace {

constexpr size_t kept_programs = 6;

// The rule's arguments are relu's: x, and the cotangent of its output.
GradRules rules_of(Rectifier rectifier) {
  if (rectifier == Rectifier::gradient) return {};
  const bool guided = rectifier == Rectifier::guided;
  const auto rule = [guided](const Vjp& v) {
    const Val above = ops::relu(v.tape, v.dy[0]);
    return std::vector<Val>{guided ? ops::gate(v.tape, v.x[0], above) : above};
  };
  return {{"relu", rule}, {"relu6", rule}};
}

Shape of_batch(const Shape& one, int64_t batch) {
  return {batch, one.height(), one.width(), one.channels()};
}

}  // namespace

// What a program computes, beside how many points at once.
struct Explainer::Recipe {
  enum class Points { given, shares, masks };
  Points points = Points::given;
  bool summed = false;  // gradients, instead of each
  Wanted wanted{};
  std::string value{};  // the target's, and its link
  Target::Link link = Target::Link::none;

  Recipe(Points kind, bool sum, Wanted what, const Target& target)
      : points(kind),
        summed(sum),
        wanted(std::move(what)),
        value(target.value),
        link(target.link) {}

  bool same(const Recipe& o) const {
    return points == o.points && summed == o.summed && wanted.gradient == o.wanted.gradient &&
           wanted.layer == o.wanted.layer && wanted.rectifier == o.wanted.rectifier &&
           value == o.value && link == o.link;
  }
};

struct Explainer::Program {
  Recipe recipe;
  int64_t batch = 0;
  bool full = false;  // as many points as fit
  std::shared_ptr<Tape> tape = std::make_shared<Tape>();
  // Points as they are, or how they lie between sample and baseline.
  Val points{}, sample{}, baseline{}, share{};
  std::map<std::string, Val> others{};
  Val weights{};                 // of the target
  Val factors{}, sum{}, lost{};  // of summed gradients: see record()
  Val score{}, gradient{}, layer{}, layer_gradient{};
  std::unique_ptr<Session> session{};

  size_t bytes() const { return session->plan().arena_bytes + session->input_bytes(); }
};

Explainer::Explainer(Context& context, Device& device, const ModelInfo& info, Model& model,
                     const Shape& shape, const ExplainerOptions& options, std::string input,
                     std::map<std::string, FixedInput> others)
    : context_(&context),
      device_(&device),
      info_(info),
      model_(&model),
      shape_(of_batch(shape, 1)),
      options_(options),
      input_(std::move(input)),
      others_(std::move(others)),
      arena_(std::make_shared<Arena>()) {
  const std::vector<std::string> inputs = info_.network.inputs();
  if (input_.empty()) {
    if (inputs.size() != 1)
      usage_error("the network has " + std::to_string(inputs.size()) +
                  " inputs: name the one that is explained");
    input_ = inputs[0];
  }
  // Recording once tells the layers' shapes, and whether all fits.
  Target nothing;
  nothing.value = info_.network.outputs()[0];
  const auto p = record(Recipe(Recipe::Points::given, false, {}, nothing), 1, Fuse::no);
  const std::vector<int64_t> seen = receptive_fields(*p->tape, p->points);
  for (const Call& call : info_.network.calls()) {
    const Val value = p->tape->find(call.name);
    layers_.push_back(
        {call.name, call.op, p->tape->shape(value), seen[static_cast<size_t>(value.node)]});
  }
}

Explainer::~Explainer() = default;

const LayerInfo& Explainer::layer(const std::string& name) const {
  const std::string wanted = name.empty() ? info_.network.output() : name;
  info_.network.call(wanted);
  return *std::find_if(layers_.begin(), layers_.end(),
                       [&](const LayerInfo& layer) { return layer.name == wanted; });
}

const LayerInfo& Explainer::last_map() const {
  const auto last = std::find_if(layers_.rbegin(), layers_.rend(), [](const LayerInfo& layer) {
    return layer.shape.height() > 1 || layer.shape.width() > 1;
  });
  if (last == layers_.rend()) usage_error("the network has no layer with more than one pixel");
  return *last;
}

const LayerInfo& Explainer::features_of(const std::string& output) const {
  const auto has_weights = [](const Call& call) {
    return call.op == "conv2d" || call.op == "separable_conv2d" || call.op == "dense";
  };
  const Call* call = &info_.network.call(output);
  while (!has_weights(*call) && !call->inputs.empty())
    call = &info_.network.call(call->inputs.front());
  if (call->inputs.empty())
    usage_error("there is no layer with weights on the way to '" + output + "'");
  return layer(call->inputs.front());
}

std::unique_ptr<Explainer::Program> Explainer::record(const Recipe& recipe, int64_t batch,
                                                      Fuse fuses) {
  auto made = std::make_unique<Program>(Program{recipe, batch});
  Program& p = *made;
  Val x = record_forward(p);
  const bool fused = fuses == Fuse::yes && options_.fuse;
  if (fused) fuse_program(p, x, FuseFor::gradients);
  record_gradients(p, x);
  if (fused) fuse_program(p, x, FuseFor::pointwise);
  std::vector<Val> outputs{p.score};
  for (const Val v : {p.layer, p.layer_gradient, recipe.summed ? Val{} : p.gradient})
    if (v) outputs.push_back(v);
  p.session = std::make_unique<Session>(*context_, *device_, p.tape, outputs, model_, arena_);
  return made;
}

// From points to the target's score; gives the network's input.
Val Explainer::record_forward(Program& p) const {
  Tape& tape = *p.tape;
  const Recipe& recipe = p.recipe;
  const int64_t batch = p.batch;
  const Shape all = of_batch(shape_, batch);
  Val x;
  if (recipe.points == Recipe::Points::given) {
    x = p.points = ops::input(tape, "/points", {all});
  } else {
    const auto scope = tape.scope("points");
    const bool masks = recipe.points == Recipe::Points::masks;
    p.sample = ops::input(tape, "/sample", {shape_});
    p.baseline = ops::input(tape, "/baseline", {shape_});
    p.share =
        ops::input(tape, "/share",
                   {masks ? Shape{batch, all.height(), all.width(), 1} : Shape{batch, 1, 1, 1}});
    // Exact at both ends.
    x = ops::add(tape, ops::mul(tape, p.share, p.sample),
                 ops::mul(tape, ops::affine(tape, p.share, -1, 1), p.baseline));
  }
  std::map<std::string, Val> inputs{{input_, x}};
  for (const auto& [name, other] : others_) {
    p.others[name] = ops::input(tape, "/other/" + name, {other.shape});
    inputs[name] = ops::broadcast(tape, p.others[name], of_batch(other.shape, batch));
  }
  fulmar::record(info_.network, tape, inputs, {Mode::eval});

  const std::string value = recipe.value.empty() ? info_.network.output() : recipe.value;
  const Val explained = tape.find(value);
  p.weights = ops::input(tape, "/target", {of_batch(tape.shape(explained), 1), Role::statistic});
  p.score = record_score(tape, explained, recipe.link, p.weights);
  if (!recipe.wanted.layer.empty()) p.layer = tape.find(recipe.wanted.layer);
  return x;
}

// Fuses what nobody wants to see: the layer, points and gradient rules stay.
void Explainer::fuse_program(Program& p, Val& x, FuseFor use) const {
  std::vector<Val*> values{&x,       &p.points,  &p.sample, &p.baseline,       &p.share,
                           &p.score, &p.weights, &p.layer,  &p.layer_gradient, &p.gradient,
                           &p.sum,   &p.lost,    &p.factors};
  for (auto& [name, other] : p.others) values.push_back(&other);
  std::vector<Val> keep;
  for (const Val* v : values)
    if (*v) keep.push_back(*v);
  const GradRules rules = rules_of(p.recipe.wanted.rectifier);
  const Rewritten after =
      fuse(*p.tape, *device_, keep, use == FuseFor::gradients ? rules : GradRules{}, use);
  for (Val* v : values) *v = after.now(*v);
  p.tape = after.tape;
}

// What the recipe wants behind the score.
void Explainer::record_gradients(Program& p, Val x) {
  Tape& tape = *p.tape;
  const Recipe& recipe = p.recipe;
  std::vector<Val> wrt;
  if (p.layer) wrt.push_back(p.layer);
  if (recipe.wanted.gradient) wrt.push_back(x);
  if (!wrt.empty()) {
    std::vector<Val> gradients = grad(tape, p.score, wrt, {}, rules_of(recipe.wanted.rectifier));
    if (p.layer) p.layer_gradient = gradients[0];
    if (recipe.wanted.gradient) p.gradient = gradients.back();
  }
  if (recipe.summed) {
    const auto scope = tape.scope("sum of gradients");
    p.factors = ops::input(tape, "/factors", {{p.batch, 1, 1, 1}});
    // Kahan 1965: what a sum loses by rounding is given back to the next one.
    p.sum = ops::input(tape, "/sum", {shape_, Role::statistic});
    p.lost = ops::input(tape, "/lost", {shape_, Role::statistic});
    const Val part = ops::sum(tape, ops::mul(tape, p.gradient, p.factors), shape_, Role::statistic);
    const Val added = ops::sub(tape, part, p.lost), sum = ops::add(tape, p.sum, added);
    const Val lost = ops::sub(tape, ops::sub(tape, sum, p.sum), added);
    ops::store(tape, lost, p.lost);
    ops::store(tape, sum, p.sum);
  }
}

// As many as the memory holds: a program's need grows evenly with its points.
int64_t Explainer::largest_batch(const Recipe& recipe) {
  const auto bytes = [&](int64_t batch) {
    return static_cast<int64_t>(record(recipe, batch)->bytes());
  };
  const int64_t one = bytes(1), each = std::max<int64_t>(1, bytes(2) - one);
  return std::clamp<int64_t>(1 + (options_.memory - one) / each, 1, options_.max_batch);
}

Explainer::Program& Explainer::program(const Recipe& recipe, const Target& target, int64_t count) {
  const int64_t elements = layer(target.value).shape.elements();
  if (std::ssize(target.weights) != elements)
    usage_error("the target has " + std::to_string(target.weights.size()) + " weights, '" +
                layer(target.value).name + "' has " + std::to_string(elements) + " elements");
  auto known = std::find_if(programs_.begin(), programs_.end(), [&](const auto& p) {
    return p->recipe.same(recipe) && (p->batch >= count || p->full);
  });
  if (known == programs_.end()) {
    // A single point needs no look at how many would fit.
    const int64_t largest = count == 1 ? 1 : largest_batch(recipe);
    auto p = record(recipe, std::min(count, largest));
    p->full = count > 1 && p->batch == largest;
    planned_bytes_ = std::max(planned_bytes_, p->bytes());
    programs_.insert(programs_.begin(), std::move(p));
    if (programs_.size() > kept_programs) programs_.pop_back();
  } else {
    std::rotate(programs_.begin(), known, known + 1);
  }
  Program& p = *programs_.front();
  p.session->set(p.weights, std::span(target.weights));
  for (const auto& [name, other] : others_)
    p.session->set(p.others.at(name), std::span(other.values));
  return p;
}

void Explainer::require_input(std::span<const float> values, const char* what) const {
  if (std::ssize(values) != elements())
    usage_error(std::string(what) + " has " + std::to_string(values.size()) +
                " elements, the network's input '" + input_ + "' is " + shape_.to_string());
}

std::vector<float> Explainer::value(const std::string& name, std::span<const float> input) {
  require_input(input, "the input");
  const Shape& shape = layer(name).shape;
  Target first;
  first.value = layer(name).name;
  first.weights.assign(static_cast<size_t>(shape.elements()), 0.0F);
  Wanted wanted;
  wanted.layer = first.value;
  std::vector<float> values;
  at(first, wanted, input,
     [&](int64_t, const Point& point) { values.assign(point.layer.begin(), point.layer.end()); });
  return values;
}

double Explainer::score(const Target& target, std::span<const float> input) {
  require_input(input, "the input");
  double score = 0;
  at(target, {}, input, [&](int64_t, const Point& point) { score = point.score; });
  return score;
}

void Explainer::at(const Target& target, const Wanted& wanted, std::span<const float> points,
                   const std::function<void(int64_t, const Point&)>& sink) {
  const int64_t each = elements(), count = std::ssize(points) / each;
  if (count < 1 || count * each != std::ssize(points))
    usage_error("points of " + std::to_string(points.size()) + " elements were given, one has " +
                std::to_string(each));
  Program& p = program(Recipe(Recipe::Points::given, false, wanted, target), target, count);
  const auto part = [&](std::span<const float> all, int64_t number, int64_t size) {
    return all.subspan(static_cast<size_t>(number * size), static_cast<size_t>(size));
  };
  std::vector<float> given, gradients, values, value_gradients;
  const auto read = [&](Val value, std::vector<float>& to) {
    if (!value) return;
    to.resize(static_cast<size_t>(p.tape->shape(value).elements()));
    p.session->read(value, to);
  };
  for (int64_t begin = 0; begin < count; begin += p.batch) {
    const int64_t here = std::min(p.batch, count - begin);
    std::span<const float> chunk =
        points.subspan(static_cast<size_t>(begin * each), static_cast<size_t>(here * each));
    if (here < p.batch) {  // filled up with zeros, which nobody looks at
      given.assign(chunk.begin(), chunk.end());
      given.resize(static_cast<size_t>(p.batch * each));
      chunk = given;
    }
    p.session->set(p.points, chunk);
    p.session->run();
    const std::vector<double> scores = p.session->read(p.score);
    read(p.gradient, gradients);
    read(p.layer, values);
    read(p.layer_gradient, value_gradients);
    const int64_t size = std::ssize(values) / p.batch;
    for (int64_t i = 0; i < here; i++) {
      Point point;
      point.score = scores[static_cast<size_t>(i)];
      if (p.gradient) point.gradient = part(gradients, i, each);
      if (p.layer) {
        point.layer = part(values, i, size);
        point.layer_gradient = part(value_gradients, i, size);
      }
      sink(begin + i, point);
    }
  }
}

std::vector<double> Explainer::gradient_sum(const Target& target, std::span<const float> sample,
                                            std::span<const float> baseline,
                                            std::span<const double> shares,
                                            std::span<const double> weights, Rectifier rectifier) {
  require_input(sample, "the sample");
  require_input(baseline, "the baseline");
  if (shares.size() != weights.size() || shares.empty())
    usage_error("a path needs points, and a weight for each");
  const auto count = std::ssize(shares);
  Wanted wanted;
  wanted.gradient = true;
  wanted.rectifier = rectifier;
  Program& p = program(Recipe(Recipe::Points::shares, true, wanted, target), target, count);
  p.session->set(p.sample, sample);
  p.session->set(p.baseline, baseline);
  const std::vector<double> zeros(static_cast<size_t>(elements()), 0.0);
  p.session->set(p.sum, zeros);
  p.session->set(p.lost, zeros);
  std::vector<double> share(static_cast<size_t>(p.batch)), factor(share.size());
  for (int64_t begin = 0; begin < count; begin += p.batch) {
    for (int64_t i = 0; i < p.batch; i++) {
      const auto from = static_cast<size_t>(begin + i), to = static_cast<size_t>(i);
      const bool there = begin + i < count;  // else it counts for nothing
      share[to] = there ? shares[from] : 1;
      factor[to] = there ? weights[from] : 0;
    }
    p.session->set(p.share, std::span<const double>(share));
    p.session->set(p.factors, std::span<const double>(factor));
    p.session->run();
  }
  std::vector<double> sum = p.session->read(p.sum), lost = p.session->read(p.lost);
  for (size_t i = 0; i < sum.size(); i++) sum[i] -= lost[i];
  return sum;
}

std::vector<double> Explainer::masked_scores(
    const Target& target, std::span<const float> sample, std::span<const float> baseline,
    int64_t count, const std::function<void(int64_t, std::span<float>)>& draw) {
  require_input(sample, "the sample");
  require_input(baseline, "the baseline");
  std::vector<double> scores;
  if (count < 1) return scores;
  Program& p = program(Recipe(Recipe::Points::masks, false, {}, target), target, count);
  p.session->set(p.sample, sample);
  p.session->set(p.baseline, baseline);
  const auto pixels = static_cast<size_t>(shape_.height() * shape_.width());
  std::vector<float> masks(static_cast<size_t>(p.batch) * pixels, 0.0F);
  for (int64_t begin = 0; begin < count; begin += p.batch) {
    const int64_t here = std::min(p.batch, count - begin);
    for (int64_t i = 0; i < here; i++)
      draw(begin + i, std::span(masks).subspan(static_cast<size_t>(i) * pixels, pixels));
    p.session->set(p.share, std::span<const float>(masks));
    p.session->run();
    const std::vector<double> all = p.session->read(p.score);
    scores.insert(scores.end(), all.begin(), all.begin() + here);
  }
  return scores;
}

int64_t Explainer::batch(const Target& target, const Wanted& wanted) {
  return largest_batch(Recipe(Recipe::Points::given, false, wanted, target));
}

std::vector<std::string> Explainer::steps(const Target& target, const Wanted& wanted) {
  const auto p = record(Recipe(Recipe::Points::given, false, wanted, target), 1);
  std::vector<std::string> names;
  for (const Plan::Step& step : p->session->plan().steps)
    names.emplace_back(p->tape->node(step.node).op->name());
  return names;
}

}  // namespace fulmar::model::explain
