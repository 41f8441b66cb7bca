// How the cost of a node grows with the graph, drawn as an SVG picture.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <vector>

#include "apart.hpp"
#include "chain.hpp"
#include "fan.hpp"
#include "graphs.hpp"
#include "layered.hpp"
#include "wavefront.hpp"
#include "workloads.hpp"

namespace bench {

namespace {

struct Point {
    double nodes;
    double ours;   // ns a node
    double floor;  // in the same rounds
};

struct Curve {
    std::string name;
    std::vector<Point> points;
};

template <class S>
Point measure_here(std::uint32_t nodes) {
    const Shape shape = S::shape(nodes);
    OurSide<S, false> ours(shape);
    ours.timing(false);
    FloorSide<S, false> floor(shape);
    steps = 0, ours.run();
    check_order(shape, ours);
    steps = 0, floor.run();
    check_order(shape, floor);
    const int at_once = std::max(1, 100'000 / static_cast<int>(nodes));  // else the clock is coarse
    const auto repeat = [&](auto& side) {
        return single(static_cast<double>(shape.nodes) * at_once, [&side, at_once] {
            for (int i = 0; i < at_once; ++i) side.run();
            steps = 0;
        });
    };
    Contest contest(nodes > 100'000 ? 7 : 9);
    contest.add("ours", repeat(ours));
    contest.add("floor", repeat(floor));
    contest.run();
    const Point point{static_cast<double>(shape.nodes), median(contest["ours"]),
                      median(contest["floor"])};
    std::printf("%-10s %9u nodes %9zu edges  ours %7.1f  floor %7.1f ns/node\n", S::name,
                shape.nodes, shape.edges.size(), point.ours, point.floor);
    return point;
}

// The graphs before it leave a heap in pieces, in which a graph of 10,000 nodes takes twice as
// long.
template <class S>
Point measure(std::uint32_t nodes) {
    Point point{};
    const auto write = [&](std::FILE* out) {
        const Point made = measure_here<S>(nodes);
        std::fflush(stdout);
        std::fprintf(out, "%a %a %a\n", made.nodes, made.ours, made.floor);
    };
    const auto read = [&](std::FILE* in) {
        require(std::fscanf(in, "%la %la %la", &point.nodes, &point.ours, &point.floor) == 3,
                "a point of the picture is missing");
    };
    apart(S::name, write, read);
    return point;
}

template <class S>
Curve measure_all(std::uint32_t most) {
    Curve curve{S::name, {}};
    for (std::uint32_t nodes = 1'000; nodes < most; nodes *= 10) {
        curve.points.push_back(measure<S>(nodes));
    }
    curve.points.push_back(measure<S>(most));
    return curve;
}

// ---- the picture --------------------------------------------------------------------------------

constexpr double width = 790, height = 570;
constexpr double panel_width = 280, panel_height = 190;
constexpr double least_nodes = 1e3, most_nodes = 4e6;
constexpr double least_time = 1, most_time = 2e3;

// Colours that read on white and on black, since a picture does not know the page around it.
constexpr const char* ink = "#808890";
constexpr const char* ours_colour = "#2f8fe6";
constexpr const char* floor_colour = "#d9822b";

class Picture {
public:
    explicit Picture(const std::string& file) : out_(std::fopen(file.c_str(), "w")) {
        if (out_ == nullptr) throw std::runtime_error("cannot write " + file);
        std::fprintf(out_,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" "
                     "height=\"%g\" font-family=\"sans-serif\" font-size=\"12\">\n",
                     width, height, width, height);
    }
    Picture(const Picture&) = delete;
    ~Picture() {
        std::fprintf(out_, "</svg>\n");
        std::fclose(out_);
    }

    void text(double x, double y, const char* anchor, const char* colour, const std::string& what,
              int size = 12) {
        std::fprintf(out_,
                     "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\" "
                     "font-size=\"%d\">%s</text>\n",
                     x, y, anchor, colour, size, what.c_str());
    }
    void line(double x1, double y1, double x2, double y2, const char* colour, double thickness,
              double opacity = 1) {
        std::fprintf(out_,
                     "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" "
                     "stroke-width=\"%g\" stroke-opacity=\"%g\"/>\n",
                     x1, y1, x2, y2, colour, thickness, opacity);
    }
    void dot(double x, double y, const char* colour) {
        std::fprintf(out_, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, y, colour);
    }

private:
    std::FILE* out_;
};

double place(double value, double least, double most) {
    return std::log(value / least) / std::log(most / least);
}
std::string short_number(double value) {
    char text[32];
    if (value >= 1e6) {
        std::snprintf(text, sizeof text, "%gM", value / 1e6);
    } else if (value >= 1e3) {
        std::snprintf(text, sizeof text, "%gk", value / 1e3);
    } else {
        std::snprintf(text, sizeof text, "%.0f", value);
    }
    return text;
}

void draw_panel(Picture& picture, const Curve& curve, double left, double top) {
    const auto x = [&](double nodes) {
        return left + panel_width * place(nodes, least_nodes, most_nodes);
    };
    const auto y = [&](double time) {
        return top + panel_height * (1 - place(time, least_time, most_time));
    };
    picture.text(left, top - 12, "start", ink, curve.name, 15);
    for (double time = least_time; time < most_time; time *= 10) {
        picture.line(left, y(time), left + panel_width, y(time), ink, 1, 0.35);
        picture.text(left - 8, y(time) + 4, "end", ink, short_number(time));
    }
    for (double nodes = least_nodes; nodes < most_nodes; nodes *= 10) {
        picture.line(x(nodes), top, x(nodes), top + panel_height, ink, 1, 0.2);
        picture.text(x(nodes), top + panel_height + 18, "middle", ink, short_number(nodes));
    }
    const auto draw = [&](double Point::* time, const char* colour, const char* name,
                          double below) {
        for (std::size_t i = 0; i < curve.points.size(); ++i) {
            const Point& at = curve.points[i];
            if (i > 0) {
                const Point& from = curve.points[i - 1];
                picture.line(x(from.nodes), y(from.*time), x(at.nodes), y(at.*time), colour, 2);
            }
            picture.dot(x(at.nodes), y(at.*time), colour);
            picture.text(x(at.nodes), y(at.*time) + below, i == 0 ? "start" : "middle", colour,
                         short_number(at.*time), 11);
        }
        const Point& last = curve.points.back();
        picture.text(x(last.nodes) + 10, y(last.*time) + 4, "start", colour, name);
    };
    draw(&Point::ours, ours_colour, "Grafo", -9);
    draw(&Point::floor, floor_colour, "by hand", 18);
}

}  // namespace

void growth(const std::string& file, bool quick) {
    const std::uint32_t most = quick ? 100'000 : 1'000'000;
    const Curve curves[] = {measure_all<Chain>(most), measure_all<Fan>(most),
                            measure_all<Wavefront>(most),
                            measure_all<Layered>(quick ? most : 2'500'000)};
    Picture picture(file);
    picture.text(70, 28, "start", ink,
                 "Nanoseconds a node takes in a run, by the number of nodes (both scales are "
                 "logarithmic)",
                 14);
    for (std::size_t i = 0; i < 4; ++i) {
        draw_panel(picture, curves[i], 70 + static_cast<double>(i % 2) * 370,
                   80 + static_cast<double>(i / 2) * 260);
    }
}

}  // namespace bench
