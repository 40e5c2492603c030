"""Programs that use the language in many ways, and systems for them: for tests that compare meanings."""

from dataclasses import dataclass

import numpy as np
from compiled import HEAD
from interpreted import jumbled, moved, skewed

from mdsl.interpret.meaning import System

MIXTURE = (
    "species A, B, C\nparam s[species, species] = { A-A: 1.0, A-B: 0.9, B-B: 0.8, A-C: 1.1, B-C: 0.7, C-C: 0.95 }\n"
)


@dataclass(frozen=True)
class Case:
    """A program, and atoms for it. ``cut``: all pair sums have a cutoff, so a neighbour list can be used."""

    text: str
    system: System
    head: str = HEAD
    cut: bool = False


def cases() -> dict[str, Case]:
    three, two = np.arange(14) % 3, np.arange(12) % 2
    small = System(
        np.random.default_rng(1).uniform(-1, 1, (4, 3)), [9.0] * 3, v=np.random.default_rng(2).normal(size=(4, 3))
    )
    open_box = moved(jumbled(9), periodic=[False] * 3, lengths=[1.0] * 3)
    mixed = moved(jumbled(12), periodic=[True, False, True], lengths=[4.0, 1.0, 4.4])
    return {
        "one pair function": Case(
            "param a = 1.1\nenergy U = sum(i < j) force_shifted(lennard_jones(a, 1), 1.7*a)(|x[i] - x[j]|)",
            jumbled(14),
            cut=True,
        ),
        "every combinator": Case(
            "param rc = 1.8\ndef u(r) = yukawa(2, 1)(r) + gaussian(1, 0.5)(r)\nenergy T = sum(i < j) truncated(u, "
            "rc)(|x[i] - x[j]|)\n"
            "energy S = sum(i < j) shifted(u, 1.7)(|x[i] - x[j]|)\nenergy F = sum(i < j) force_shifted(u, 1.6)(|x[i] - "
            "x[j]|)\n"
            "energy W = sum(i < j) switched(u, 0.8*rc, rc)(|x[i] - x[j]|)",
            jumbled(14),
            cut=True,
        ),
        "every pair function": Case(
            "def u(r) = mie(1, 1, 9, 6)(r) + inverse_power(0.9, 0.3, 3)(r) + morse(1, 2, 1.1)(r) + buckingham(9, 0.4, "
            "0.3)(r) + soft_sphere(1.5, 2, 2.5)(r) + soft_cosine(2, 1.6)(r) + wca(1.2, 0.7)(r)\n"
            "energy U = sum(i < j) u(|x[i] - x[j]|)",
            jumbled(10),
        ),
        "species table": Case(
            MIXTURE + "param e[species] = { A: 1.0, B: 0.5, C: 2.0 }\nenergy U = sum(i < j) "
            "sqrt(e[i]*e[j])*force_shifted(lennard_jones(s[i,j], 1), 1.8*s[i,j])(|x[i] - x[j]|)",
            jumbled(14, species=three),
            cut=True,
        ),
        "entries and masses": Case(
            "species A, B\nparam q[species] = { A: 1.0, B: -0.5 }\nparam k[species, species] = { A-A: 2.0, A-B: 1.0, "
            "B-B: 0.5 }\nparam m[species] = { A: 1.0, B: 3.0 }\n"
            "box free\nenergy U = sum(i < j) (q[i]*q[j]*exp(-|x[i] - x[j]|) + k[A, B]*k[i, i]*k[j, j]*exp(-|x[i] - "
            "x[j]|^2))\nenergy W = sum(i) q[B]*q[i]*(x[i] - origin)·(x[i] - origin)*exp(-|x[i] - origin|^2)",
            moved(
                jumbled(12, species=two),
                x=np.random.default_rng(8).uniform(-1.9, 1.9, (12, 3)),
                periodic=[False] * 3,
                lengths=[1.0] * 3,
                masses=np.where(two, 3.0, 1.0),
            ),
        ),
        "derivatives of functions": Case(
            "param a = 0.9\ndef u(r) = a*r^3 - sin(r)\nenergy U = sum(i < j) if r < 1.9 then D(D(u))(r)*(r - 1.9)^2 + "
            "D(u)(1.5)*(1.9 - r)^3 else 0 where r = |x[i] - x[j]|",
            jumbled(8),
            cut=True,
        ),
        "integrals of functions": Case(
            "param a = 0.9\nparam rc = 1.8\ndef u(r) = lennard_jones(a, 1)(r)\nenergy U = sum(i < j) truncated(u, "
            "rc)(|x[i] - x[j]|)\nenergy T = energy_tail(u, rc)\n"
            "energy W = sum(i < j) integral(g, min(r, rc), rc) where g(s) = a*s^2*exp(-a*s) + sin(s), r = |x[i] - "
            "x[j]|\nobserve P = pressure_tail(u, rc)",
            jumbled(9),
        ),
        "functions of functions": Case(
            "param c = 1.5\ndef twice(g)(r) = g(g(r))\ndef scaled(g, s)(r) = s*g(r/s)\ndef bump(a)(r) = "
            "a*r*exp(-r)\nenergy U = sum(i < j) (twice(scaled(bump(c), 1.3))(|x[i] - x[j]|) - scaled(twice(bump(0.7)), "
            "c)(|x[i] - x[j]|))",
            jumbled(8),
        ),
        "nested where": Case(
            "param k = 2.0\nenergy U = sum(i < j) (a*b - b/a) where a = 1 + c*c, b = exp(-k*c), c = r^2/(1 + r), r = "
            "|x[i] - x[j]|",
            jumbled(8),
        ),
        "piecewise": Case(
            "param a = 0.8  param b = 1.4\ndef u(r) = if r < a then 3 - r else if r < b then (b - r)^2*sqrt(r) else if "
            "r < 1.8 then log(1 + (1.8 - r)^3) else 0\nenergy U = sum(i < j) u(|x[i] - x[j]|)",
            jumbled(14),
            cut=True,
        ),
        "conditions": Case(
            "param a = 1.2\nenergy U = sum(i < j) if (r > 0.5 and r < a) or not r < 1.6 then min(r, 1.0)*max(0.3, 2 - "
            "r) else abs(r - 1.3)*tanh(r) where r = |x[i] - x[j]|",
            jumbled(9),
        ),
        "elementary functions": Case(
            "param a = 0.7\nenergy U = sum(i < j) (erfc(a*r)/r + erf(r)*cosh(r/5) - sinh(r/4)*atan(r) + "
            "acos(r/9)*asin(r/9)*tan(r/9) + r^a*2^r) where r = |x[i] - x[j]|",
            jumbled(8),
        ),
        "external field": Case(
            "box free\nparam k = 0.7\nparam w = 2.0\nenergy U = sum(i) k*(x[i] - origin).x^2*cos(w*(x[i] - "
            "origin).y)\nenergy G = sum(i) m[i]*(x[i] - origin).z",
            moved(small, periodic=[False] * 3, lengths=[1.0] * 3),
        ),
        "components of pairs": Case(
            "param k = 0.7\nenergy U = sum(i < j) (exp(-k*(d.x^2 + 2*d.y^2 + 0.5*d.z^2)) + k*(d·d)*d.z^2*exp(-|d|)) "
            "where d = x[i] - x[j]",
            jumbled(7),
        ),
        "flat": Case(
            "dim 2\nparam k = 3.0\nenergy U = sum(i < j) soft_sphere(1.5, k, 2.5)(|x[i] - x[j]|)\nenergy W = sum(i < "
            "j) if r < 1.2 then k*(1.2 - r)^2*(x[i] - x[j]).x^2 else 0 where r = |x[i] - x[j]|",
            jumbled(12, 2),
            cut=True,
        ),
        "no box": Case(
            "box free\nparam a = 1.0\nenergy U = sum(i < j) lennard_jones(a, 0.3)(|x[i] - x[j]|)\nenergy W = sum(i) "
            "0.5*|x[i] - origin|^4",
            open_box,
        ),
        "a slab": Case(
            "param a = 1.0\nenergy U = sum(i < j) force_shifted(morse(1, 2, a), 1.9)(|x[i] - x[j]|)\nenergy W = sum(i) "
            "a*(x[i] - origin).y^2",
            mixed,
        ),
        "a skewed box": Case(
            "param a = 1.0\nenergy U = sum(i < j) force_shifted(lennard_jones(a, 1), 1.9*a)(|x[i] - x[j]|)\nenergy W = "
            "sum(i < j) if r < 1.8 then (1.8 - r)^3*d.x*d.y*a else 0 where d = x[i] - x[j], r = |d|\nenergy V = sum(i) "
            "0.1*d.y*d.z^2 where d = x[i] - origin\nenergy P = 0.1*volume^2/sqrt(N)",
            skewed(jumbled(14), 1.3, -0.9, 2.6),
            cut=True,
        ),
        "a skewed slab": Case(
            "param a = 1.0\nenergy U = sum(i < j) force_shifted(morse(1, 2, a), 1.9)(|x[i] - x[j]|)",
            moved(skewed(mixed, 0.0, 1.7, 0.6), periodic=[True, False, True]),
            cut=True,
        ),
        "flat and skewed": Case(
            "dim 2\nparam k = 3.0\nenergy U = sum(i < j) soft_sphere(1.5, k, 2.5)(|x[i] - x[j]|)",
            skewed(jumbled(12, 2), 1.8),
            cut=True,
        ),
        "combinations of sums": Case(
            "param c = 2.0\nenergy U = 2*sum(i < j) exp(-r) - c*sum(i < j) r*exp(-r^2) where r = |x[i] - x[j]|\nenergy "
            "V = -(sum(i < j) exp(-2*|x[i] - x[j]|))/c + 3*c^2",
            jumbled(9),
        ),
        "params of params": Case(
            "species A, B\nparam D = 0.8\nparam g = 1.5*D^2\nparam size[species] = { A: D, B: 1.0 }\nparam s[species, "
            "species] = { A-A: D, A-B: (1 + D)/2, B-B: 1.0 }\nconst half = 1/2\n"
            "energy U = sum(i < j) (g*wca(s[i,j], 1.0)(|x[i] - x[j]|) + half*(size[i] + size[j])*exp(-|x[i] - x[j]|/D))",
            jumbled(12, species=two),
        ),
        "ranges and the number of atoms": Case(
            "const c[k in 1..4] = 0.1*k^2\nparam b = 1.3\nenergy U = sum(i < j) (c[2]*r + c[4]*b)/(1 + r^4) where r = "
            "|x[i] - x[j]|\nenergy V = N*b^2 + dim",
            jumbled(8),
        ),
        "the volume": Case(
            "param a = 1.0\nenergy U = sum(i < j) exp(-a*|x[i] - x[j]|^2)/volume^(1/3)\nenergy P = 0.1*a*volume",
            jumbled(7),
        ),
        "vectors and matrices": Case(
            "box free\nparam g = 0.7\nenergy U = g*sum(i < j) (floor(2*r)*r + round(r)*r^2 + atan2(r, g)) where r = "
            "|x[i] - x[j]|\nenergy F = -sum(i) (g, 0, 2*g)·(x[i] - origin)\n"
            "observe a = (1, 2, g)·(virial - trace(virial)/dim*identity)\nobserve b = "
            "transpose(virial)·virial*largest(i) f[i].y\nobserve c = virial.xy + (g, 0, 1).x",
            moved(small, periodic=[False] * 3, lengths=[1.0] * 3),
        ),
        "observables over ranges": Case(
            "param k = 3.0\nconst bins = 8\nparam dr = 0.25\nconst w[k in 0..8] = 0.1*k\ndef shell(n) = k*n\n"
            "energy U = sum(i < j) soft_sphere(1.5, k, 2.5)(|x[i] - x[j]|)\n"
            "observe h[k in 1..bins] = sum(i < j) if floor(r/dr) + 1 == k and r < 1.9 then w[k]*r else 0 where r = "
            "|x[i] - x[j]|\n"
            "observe g[i in 1..8] = h[i]/shell(i)\nobserve third = h[3] + w[2]\nobserve p[n in -1..1] = n*sum(i) "
            "m[i]*v[i]\nobserve same[k in 0..2] = k*k\n"
            "observe debye[n in 1..3] = sum(i < j) sin(n*r)/(n*r) where r = |x[i] - x[j]|\nobserve slow[n in 0..3] = "
            "-(sum(i) m[i]*(if n - 1 == floor(|v[i]|/0.9) then 1 else 0))",
            jumbled(9),
        ),
        "a density": Case(
            MIXTURE
            + "param a[species] = { A: 1.0, B: 0.7, C: 1.2 }\nparam c = 0.8\ndef bell(r) = if r < 1.9 then (1.9 - r)^3 "
            "else 0\n"
            "quantity rho[i] = sum(j != i) a[j]*s[i,j]*bell(|x[i] - x[j]|)\nenergy E = -c*sum(i) "
            "a[i]*sqrt(rho[i])\nenergy U = sum(i < j) force_shifted(lennard_jones(0.8*s[i,j], 0.3), 1.7)(|x[i] - x[j]|)",
            jumbled(14, species=three),
            cut=True,
        ),
        "quantities of quantities": Case(
            "param a = 1.3\ndef bell(r) = if r < 1.9 then (1.9 - r)^3 else 0\nquantity n[i] = sum(j != i) bell(|x[i] - "
            "x[j]|)\nquantity w[i] = a*n[i]/(1 + n[i]^2)\n"
            "quantity smooth[i] = sum(k != i) w[k]*bell(|x[i] - x[k]|)*(1 + 0.1*n[i])\nenergy U = sum(i) (smooth[i]^2 "
            "+ a*w[i])\n"
            "energy V = sum(i < j) (w[i] + w[j])*smooth[i]*smooth[j]*bell(a*|x[i] - x[j]|)\nobserve mean = sum(i) "
            "smooth[i]/N\nobserve far = sum(i < j) n[i]*n[j]*exp(-|x[i] - x[j]|)",
            jumbled(12),
            cut=True,
        ),
        "sums inside sums": Case(
            "param a = 1.1\ndef crowd(r) = if r < a then (a - r)^2 else 0\nenergy U = sum(i) sqrt(0.1 + sum(j != i) "
            "crowd(|x[i] - x[j]|))\n"
            "energy V = sum(i < j) (sum(k != i) crowd(|x[i] - x[k]|/1.5))*(sum(k != j) crowd(|x[j] - "
            "x[k]|/1.5))*crowd(|x[i] - x[j]|/1.5)\nobserve most = largest(i) sum(j != i) |x[i] - x[j]|",
            jumbled(12),
            cut=True,
        ),
        "three bodies": Case(
            "species A, B\nparam s[species, species] = { A-A: 1.0, A-B: 0.9, B-B: 0.8 }\nparam g = 0.7\nparam "
            "e[species] = { A: 1.0, B: 1.5 }\n"
            "def leg(s)(r) = if r < 1.9*s then exp(s/(r - 1.9*s)) else 0\n"
            "energy U = sum(i; j < k) g*e[i]*leg(s[i,j])(|d|)*leg(s[i,k])(|b|)*(d·b/(|d|*|b|) + 1/3)^2 where d = x[j] "
            "- x[i], b = x[k] - x[i]\n"
            "energy V = sum(i; j < k) leg(1.0)(|x[i] - x[j]|)*leg(1.0)(|x[i] - x[k]|)*(angle(x[j], x[i], x[k]) - "
            "1.5)^2*(1 + 0.1*|x[j] - x[k]|^2)\n"
            "energy W = sum(i < j) wca(0.8, 1.0)(|x[i] - x[j]|)",
            jumbled(12, species=two),
            cut=True,
        ),
        "quantities of three bodies": Case(
            "param g = 0.7\ndef leg(r) = if r < 1.8 then (1.8 - r)^3 else 0\nquantity c[i] = sum(i; j < k) leg(|x[i] - "
            "x[j]|)*leg(|x[i] - x[k]|)*cos(angle(x[j], x[i], x[k]))\n"
            "quantity n[i] = sum(j != i) leg(|x[i] - x[j]|)\nenergy U = sum(i) c[i]^2/(1 + g*n[i])\n"
            "energy V = sum(i; j < k) n[i]*g*leg(|x[i] - x[j]|)*leg(|x[i] - x[k]|)*n[j]*n[k]\nobserve order = sum(i) "
            "abs(c[i])",
            jumbled(11),
            cut=True,
        ),
        "flat quantities": Case(
            "dim 2\ndef leg(r) = if r < 1.9 then (1.9 - r)^2 else 0\nquantity n[i] = sum(j != i) leg(|x[i] - "
            "x[j]|)\nenergy U = sum(i) n[i]^1.5\nenergy V = sum(i; j < k) (d·b)^2*leg(|d|)*leg(|b|) where d = x[j] - "
            "x[i], b = x[k] - x[i]",
            jumbled(12, 2),
            cut=True,
        ),
        "learned functions": Case(
            "dim 2\nparam rc = 1.9\nparam eta = 4.0\nparam shift[k in 1..5] = 0.3*k\nlearned net = mlp(5, 4, 3, "
            "1)\ndef near(r) = if r < rc then (1 + cos(pi*r/rc))/2 else 0\n"
            "quantity G[i, k] = sum(j != i) exp(-eta*(r - shift[k])^2)*near(r) where r = |x[i] - x[j]|\nenergy U = "
            "sum(i) net(G[i])\n"
            "observe g[k in 2..4] = sum(i) G[i, k]/N\nobserve most = largest(i) G[i, 3]*shift[2]",
            jumbled(9, 2),
            cut=True,
        ),
        "ranges of ranges": Case(
            "dim 2\nconst rc = 1.9\nparam c[k in 1..4] = 0.5*k\nlearned net = mlp(3, 4, 1)\nlearned own = mlp(1, 3, "
            "1)\ndef near(r) = if r < rc then (1 - r/rc)^3 else 0\n"
            "quantity G[i, k] = sum(j != i) exp(-c[k]*r)*near(r)/k where r = |x[i] - x[j]|\n"
            "quantity H[i, n in 2..4] = n*c[n]*(sum(j != i) G[j, n]*near(|x[i] - x[j]|)) + G[i, 3]^2\nquantity w[i] = "
            "net(H[i])\n"
            "energy U = sum(i) (w[i]^2 + sqrt(G[i, 2]) + own(G[i, 4]) + D(own)(G[i, 1]))\nenergy P = sum(i < j) "
            "own(|x[i] - x[j]|)*near(|x[i] - x[j]|)\nenergy V = sum(i < j) w[i]*w[j]*G[i, 1]*G[j, 1]*near(|x[i] "
            "- x[j]|)",
            jumbled(9, 2),
            cut=True,
        ),
        "three bodies over a range": Case(
            "param eta = 0.4\nparam c[k in 1..4] = k/2\nconst rc = 1.9\nlearned net = mlp(4, 3, 1)\nlearned three = "
            "mlp(2, 3, 1)\ndef near(r) = if r < rc then (1 - r/rc)^3 else 0\n"
            "quantity n[i] = sum(j != i) near(|x[i] - x[j]|)\n"
            "quantity A[i, k] = c[1]*(sum(i; j < l) n[j]*n[l]*exp(-eta*c[k]*(|d|^2 + |b|^2))*(1 + "
            "d·b/(|d|*|b|))^2*near(|d|)*near(|b|)*(1 + 0.1*k*|x[j] - x[l]|)) where d = x[j] - x[i], b = x[l] - x[i]\n"
            "quantity w[i] = net(A[i])\nenergy U = sum(i) w[i]\nenergy V = sum(i; j < l) near(|x[i] - "
            "x[j]|)*near(|x[i] - x[l]|)*w[i]*A[j, 2]*A[l, 2]*three(|x[j] - x[l]|, n[i])\nobserve a[k in 1..4] = "
            "sum(i) A[i, k]",
            jumbled(9),
            cut=True,
        ),
        "species compared": Case(
            MIXTURE
            + "energy U = sum(i < j) if species[i] == species[j] then soft_sphere(1.5, 2, 2.5)(r) else if species[i] "
            "!= B and species[j] != B then s[i, j]*exp(-r) else 0 where r = |x[i] - x[j]|\n"
            "observe n = sum(i) if species[i] == A or species[i] == C then m[i] else 0",
            jumbled(11, species=np.arange(11) % 3),
        ),
        "functions of sums": Case(
            "param c = 0.7\nparam w = 1.3\ndef bell(r) = if r < 1.9 then (1.9 - r)^3 else 0\nquantity n[i] = sum(j != "
            "i) bell(|x[i] - x[j]|)\n"
            "energy bias = c/2*(sum(i < j) w*bell(|x[i] - x[j]|) - 3)^2\nenergy V = sqrt(1 + sum(i) n[i]^2)*sum(i; j < "
            "k) bell(|x[i] - x[j]|)*bell(|x[i] - x[k]|)/(N + volume)",
            jumbled(11),
            cut=True,
        ),
        "even powers": Case(
            "param s = 0.9\nenergy U = sum(i < j) ((s/r)^12 - (s/r)^6 + r^2*exp(-r^4) + (s/r)^7 + (1/r)^0.5) where r = "
            "|x[i] - x[j]|",
            jumbled(9),
        ),
    }


def names(model):
    """Energies and observables that are one number or tensor."""
    return [e.name for e in model.equations if e.kind in ("energy", "observe") and (not e.binders or e.series)]
