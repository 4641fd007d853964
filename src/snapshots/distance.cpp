#include "snapshots/distance.hpp"

#include <array>
#include <cmath>
#include <numbers>

namespace snapward::snapshots {

namespace {

struct Place {
  std::string_view region;
  double latitude, longitude;  // degrees, north and east
};

constexpr std::array<Place, 30> kPlaces = {{
    {"af-south-1", -33.92, 18.42},       // Cape Town
    {"ap-east-1", 22.32, 114.17},        // Hong Kong
    {"ap-northeast-1", 35.68, 139.69},   // Tokyo
    {"ap-northeast-2", 37.57, 126.98},   // Seoul
    {"ap-northeast-3", 34.69, 135.50},   // Osaka
    {"ap-south-1", 19.08, 72.88},        // Mumbai
    {"ap-south-2", 17.39, 78.49},        // Hyderabad
    {"ap-southeast-1", 1.35, 103.82},    // Singapore
    {"ap-southeast-2", -33.87, 151.21},  // Sydney
    {"ap-southeast-3", -6.21, 106.85},   // Jakarta
    {"ap-southeast-4", -37.81, 144.96},  // Melbourne
    {"ca-central-1", 45.50, -73.57},     // Montreal
    {"ca-west-1", 51.05, -114.07},       // Calgary
    {"eu-central-1", 50.11, 8.68},       // Frankfurt
    {"eu-central-2", 47.38, 8.54},       // Zurich
    {"eu-north-1", 59.33, 18.07},        // Stockholm
    {"eu-south-1", 45.46, 9.19},         // Milan
    {"eu-south-2", 41.65, -0.88},        // Zaragoza
    {"eu-west-1", 53.35, -6.26},         // Dublin
    {"eu-west-2", 51.51, -0.13},         // London
    {"eu-west-3", 48.86, 2.35},          // Paris
    {"il-central-1", 32.09, 34.78},      // Tel Aviv
    {"me-central-1", 25.20, 55.27},      // Dubai
    {"me-south-1", 26.07, 50.55},        // Bahrain
    {"mx-central-1", 20.59, -100.39},    // Querétaro
    {"sa-east-1", -23.55, -46.63},       // São Paulo
    {"us-east-1", 39.04, -77.49},        // Ashburn
    {"us-east-2", 39.96, -83.00},        // Columbus
    {"us-west-1", 37.34, -121.89},       // San José
    {"us-west-2", 45.84, -119.70},       // Boardman
}};

constexpr double kEarthRadius = 3958.8;  // miles, mean

const Place* place_of(std::string_view region) {
  for (const Place& p : kPlaces)
    if (p.region == region) return &p;
  return nullptr;
}

}  // namespace

// The haversine formula.
std::optional<double> miles_between(std::string_view region, std::string_view other) {
  const Place *a = place_of(region), *b = place_of(other);
  if (!a || !b) return std::nullopt;
  const auto radians = [](double degrees) { return degrees * std::numbers::pi / 180; };
  const auto half_sine = [&](double degrees) { return std::pow(std::sin(radians(degrees) / 2), 2); };
  const double h = half_sine(b->latitude - a->latitude) +
                   std::cos(radians(a->latitude)) * std::cos(radians(b->latitude)) * half_sine(b->longitude - a->longitude);
  return 2 * kEarthRadius * std::asin(std::sqrt(h));
}

}  // namespace snapward::snapshots
