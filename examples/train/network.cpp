#include "network.hpp"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include "random.hpp"

namespace {

using Eigen::ArrayXd;
using Eigen::Index;
using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr double first_decay = 0.9;  // Adam's usual constants
constexpr double second_decay = 0.999;
constexpr double smallest_step = 1e-8;

struct Shape {
    Index inputs;
    Index hidden;
    Index outputs;

    [[nodiscard]] Index weights() const { return hidden * (inputs + 1) + outputs * (hidden + 1); }
};

Shape shape_of(const Model& model) {
    return {static_cast<Index>(model.features.size()), static_cast<Index>(model.hidden),
            static_cast<Index>(model.classes.size())};
}

// The weights of a network, or their gradient, lie in one vector: these are its parts.
template <class Number>
struct Layers {
    template <class T>
    using Part = Eigen::Map<std::conditional_t<std::is_const_v<Number>, const T, T>>;

    Layers(Number* weights, const Shape& shape)
        : w1(weights, shape.hidden, shape.inputs),
          b1(w1.data() + w1.size(), shape.hidden),
          w2(b1.data() + b1.size(), shape.outputs, shape.hidden),
          b2(w2.data() + w2.size(), shape.outputs) {}

    Part<MatrixXd> w1;
    Part<VectorXd> b1;
    Part<MatrixXd> w2;
    Part<VectorXd> b2;
};

// A column for each row of data.
struct Examples {
    MatrixXd inputs;
    std::vector<Index> labels;
};

Examples take(const Model& model, const Dataset& data, const std::vector<std::size_t>& rows) {
    const auto features = static_cast<Index>(model.features.size());
    const Eigen::Map<const MatrixXd> values(data.values.data(), features,
                                            static_cast<Index>(data.rows()));
    const Eigen::Map<const VectorXd> means(model.means.data(), features);
    const Eigen::Map<const VectorXd> deviations(model.deviations.data(), features);
    Examples examples{MatrixXd(features, static_cast<Index>(rows.size())), {}};
    examples.labels.reserve(rows.size());
    for (const std::size_t row : rows) {
        examples.inputs.col(static_cast<Index>(examples.labels.size())) =
            (values.col(static_cast<Index>(row)) - means).cwiseQuotient(deviations);
        examples.labels.push_back(static_cast<Index>(data.labels[row]));
    }
    return examples;
}

struct Forward {
    MatrixXd hidden;
    MatrixXd logits;         // less their largest
    MatrixXd probabilities;  // a column for each example
};

Forward forward(const Layers<const double>& layers, const MatrixXd& inputs) {
    Forward result;
    result.hidden = ((layers.w1 * inputs).colwise() + layers.b1).array().tanh();
    result.logits = (layers.w2 * result.hidden).colwise() + layers.b2;
    result.logits.rowwise() -= result.logits.colwise().maxCoeff().eval();
    result.probabilities = result.logits.array().exp();
    for (Index i = 0; i < inputs.cols(); ++i) {
        result.probabilities.col(i) /= result.probabilities.col(i).sum();
    }
    return result;
}

// The sum of the cross-entropies: from the logits, as a probability may have become 0.
double loss_of(const Forward& result, const std::vector<Index>& labels) {
    double loss = 0;
    for (Index i = 0; i < result.logits.cols(); ++i) {
        loss += std::log(result.logits.col(i).array().exp().sum()) -
                result.logits(labels[static_cast<std::size_t>(i)], i);
    }
    return loss;
}

Prediction prediction_of(const Forward& result, Index column) {
    Index label = 0;
    const double probability = result.probabilities.col(column).maxCoeff(&label);
    return {static_cast<std::size_t>(label), probability};
}

Model untrained(const Dataset& data, const Split& split, const Settings& settings) {
    Model model;
    model.features = data.features;
    model.classes = data.classes;
    model.hidden = settings.hidden;
    const std::size_t features = data.features.size();
    const auto rows = static_cast<double>(split.training.size());
    for (std::size_t feature = 0; feature < features; ++feature) {
        double mean = 0;
        for (const std::size_t row : split.training) mean += data.values[row * features + feature];
        mean /= rows;
        double variance = 0;
        for (const std::size_t row : split.training) {
            const double difference = data.values[row * features + feature] - mean;
            variance += difference * difference / rows;
        }
        model.means.push_back(mean);
        model.deviations.push_back(variance > 0 ? std::sqrt(variance) : 1.0);
    }
    return model;
}

}  // namespace

struct Trainer::State {
    State(const Dataset& data, const Split& split, const Settings& given)
        : settings(given),
          random(given.seed),
          model(untrained(data, split, given)),
          shape(shape_of(model)),
          training(take(model, data, split.training)),
          validation(take(model, data, split.validation)),
          weights(VectorXd::Zero(shape.weights())),
          gradient(weights.size()),
          first_moment(ArrayXd::Zero(weights.size())),
          second_moment(ArrayXd::Zero(weights.size())),
          best_weights(weights) {
        Layers<double> layers(weights.data(), shape);
        fill(layers.w1);
        fill(layers.w2);
        best_weights = weights;
        for (Index i = 0; i < training.inputs.cols(); ++i) order.push_back(i);
    }

    // Glorot's range: neither layer's sums are so large that tanh is flat there
    void fill(Eigen::Map<MatrixXd>& part) {
        const double range = std::sqrt(6.0 / static_cast<double>(part.rows() + part.cols()));
        for (Index i = 0; i < part.size(); ++i) part.data()[i] = range * random.symmetric();
    }

    // Sets the gradient to that of the mean loss, gives the sum of the losses.
    double differentiate(const Examples& batch) {
        const Layers<const double> layers(weights.data(), shape);
        const Forward result = forward(layers, batch.inputs);
        Layers<double> gradients(gradient.data(), shape);
        MatrixXd by_logits = result.probabilities;
        for (Index i = 0; i < by_logits.cols(); ++i) {
            by_logits(batch.labels[static_cast<std::size_t>(i)], i) -= 1.0;
        }
        by_logits /= static_cast<double>(by_logits.cols());
        gradients.w2 = by_logits * result.hidden.transpose();
        gradients.b2 = by_logits.rowwise().sum();
        const MatrixXd by_sums =
            (layers.w2.transpose() * by_logits).array() * (1.0 - result.hidden.array().square());
        gradients.w1 = by_sums * batch.inputs.transpose();
        gradients.b1 = by_sums.rowwise().sum();
        return loss_of(result, batch.labels);
    }

    void adam() {
        first_power *= first_decay;
        second_power *= second_decay;
        first_moment = first_decay * first_moment + (1.0 - first_decay) * gradient.array();
        second_moment =
            second_decay * second_moment + (1.0 - second_decay) * gradient.array().square();
        weights.array() -= settings.rate / (1.0 - first_power) * first_moment /
                           ((second_moment / (1.0 - second_power)).sqrt() + smallest_step);
    }

    Settings settings;
    Random random;
    Model model;
    Shape shape;
    Examples training;
    Examples validation;
    std::vector<Index> order;
    VectorXd weights;
    VectorXd gradient;
    ArrayXd first_moment;
    ArrayXd second_moment;
    double first_power = 1;
    double second_power = 1;
    VectorXd best_weights;
    double best_loss = std::numeric_limits<double>::infinity();
    std::size_t best_epoch = 0;
    std::size_t epoch = 0;
};

std::size_t count_weights(std::size_t features, std::size_t hidden, std::size_t classes) {
    const Shape shape{static_cast<Index>(features), static_cast<Index>(hidden),
                      static_cast<Index>(classes)};
    return static_cast<std::size_t>(shape.weights());
}

Trainer::Trainer(const Dataset& data, const Split& split, const Settings& settings)
    : state_(std::make_unique<State>(data, split, settings)) {}

Trainer::~Trainer() = default;

bool Trainer::done() const {
    return state_->epoch == state_->settings.epochs ||
           state_->epoch - state_->best_epoch == state_->settings.patience;
}

Epoch Trainer::step() {
    State& state = *state_;
    Epoch epoch;
    epoch.number = ++state.epoch;

    state.random.shuffle(state.order);
    double loss = 0;
    for (std::size_t begin = 0; begin < state.order.size(); begin += state.settings.batch) {
        const std::size_t size = std::min(state.settings.batch, state.order.size() - begin);
        Examples batch{MatrixXd(state.shape.inputs, static_cast<Index>(size)), {}};
        for (std::size_t i = 0; i < size; ++i) {
            const Index from = state.order[begin + i];
            batch.inputs.col(static_cast<Index>(i)) = state.training.inputs.col(from);
            batch.labels.push_back(state.training.labels[static_cast<std::size_t>(from)]);
        }
        loss += state.differentiate(batch);
        state.adam();
    }
    epoch.training_loss = loss / static_cast<double>(state.order.size());

    const Forward result =
        forward(Layers<const double>(state.weights.data(), state.shape), state.validation.inputs);
    const std::vector<Index>& labels = state.validation.labels;
    std::size_t right = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const Prediction prediction = prediction_of(result, static_cast<Index>(i));
        if (prediction.label == static_cast<std::size_t>(labels[i])) ++right;
    }
    epoch.validation_loss = loss_of(result, labels) / static_cast<double>(labels.size());
    epoch.validation_accuracy = static_cast<double>(right) / static_cast<double>(labels.size());
    epoch.best = epoch.validation_loss < state.best_loss;
    if (epoch.best) {
        state.best_loss = epoch.validation_loss;
        state.best_epoch = epoch.number;
        state.best_weights = state.weights;
    }
    return epoch;
}

Model Trainer::best() const {
    Model model = state_->model;
    model.weights.assign(state_->best_weights.begin(), state_->best_weights.end());
    return model;
}

std::vector<Prediction> predict(const Model& model, const Dataset& data,
                                const std::vector<std::size_t>& rows) {
    const Layers<const double> layers(model.weights.data(), shape_of(model));
    const Forward result = forward(layers, take(model, data, rows).inputs);
    std::vector<Prediction> predictions;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        predictions.push_back(prediction_of(result, static_cast<Index>(i)));
    }
    return predictions;
}
