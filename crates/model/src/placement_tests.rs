use std::cell::Cell;

use super::*;

/// A network that answers `rows` after `time`.
struct Made {
    engine: Engine,
    rows: Vec<Vec<f32>>,
    time: Duration,
}

fn made(engine: Engine, rows: &[[f32; 2]], ms: u64) -> Result<Made, ModelError> {
    Ok(Made { engine, rows: rows.iter().map(|row| row.to_vec()).collect(), time: Duration::from_millis(ms) })
}

fn ask(made: &mut Made) -> Result<Vec<Vec<f32>>, ModelError> {
    std::thread::sleep(made.time);
    Ok(made.rows.clone())
}

fn contest(version: &str, asked: CpuEngine) -> Contest<'_> {
    Contest { version, network: "made", asked: Placement::on_cpu(asked), precisions: &[Precision::F32] }
}

const ROWS: [[f32; 2]; 2] = [[1.0, 2.0], [-3.0, 0.5]];

#[test]
fn an_engine_survives_its_text_form() {
    for engine in [CpuEngine::Auto, CpuEngine::Libtorch, CpuEngine::OpenVino] {
        assert_eq!(engine.to_string().parse::<CpuEngine>().ok(), Some(engine));
    }
    assert!("onnx".parse::<CpuEngine>().is_err());
    let of_a_device = Placement::from(DeviceChoice::Cpu);
    assert_eq!(of_a_device, Placement::on_cpu(CpuEngine::Libtorch));
}

#[test]
fn the_faster_one_is_chosen_once_and_others_are_built_on_it_without_a_measurement() {
    for (version, ms, winner) in [("fast", 1, Engine::OpenVino), ("slow", 12, Engine::Libtorch)] {
        let contest = contest(version, CpuEngine::Auto);
        let (of_libtorch, of_openvino) = (Cell::new(0), Cell::new(0));
        for built in 1..=3 {
            let chosen = contest
                .choose(
                    || {
                        of_libtorch.set(of_libtorch.get() + 1);
                        made(Engine::Libtorch, &ROWS, 5)
                    },
                    |_, _| {
                        of_openvino.set(of_openvino.get() + 1);
                        made(Engine::OpenVino, &ROWS, ms)
                    },
                    ask,
                )
                .unwrap();
            assert_eq!(chosen.engine, winner);
            let (of_winner, of_other) = match winner {
                Engine::OpenVino => (of_openvino.get(), of_libtorch.get()),
                _ => (of_libtorch.get(), of_openvino.get()),
            };
            assert_eq!((of_winner, of_other), (built, 1), "{version}");
        }
        let choices = choices_of(version, Placement::on_cpu(CpuEngine::Auto));
        assert_eq!(choices["made"].engine, winner);
        assert!(choices["made"].because.contains("cosine 1.0"), "{choices:?}");
        assert!(choices_of(version, Placement::on_cpu(CpuEngine::OpenVino)).is_empty());
    }
}

#[test]
fn an_engine_that_says_something_else_is_not_chosen_however_fast() {
    for (version, rows) in [("other", [[2.0, -1.0], [-3.0, 0.5]]), ("nan", [[f32::NAN, 2.0], [-3.0, 0.5]])] {
        let choose = |asked| {
            contest(version, asked).choose(
                || made(Engine::Libtorch, &ROWS, 5),
                |_, _| made(Engine::OpenVino, &rows, 0),
                ask,
            )
        };
        assert_eq!(choose(CpuEngine::Auto).unwrap().engine, Engine::Libtorch, "{version}");
        assert!(matches!(choose(CpuEngine::OpenVino), Err(ModelError::Parity(_))), "{version}");
    }
}

#[test]
fn one_that_cannot_be_built_leaves_libtorch_and_its_reason_unless_it_alone_was_asked_for() {
    let choose = |asked| {
        contest("broken", asked).choose(
            || made(Engine::Libtorch, &ROWS, 0),
            |_, _| Err(ModelError::Configuration("no such layer".to_owned())),
            ask,
        )
    };
    assert_eq!(choose(CpuEngine::Auto).unwrap().engine, Engine::Libtorch);
    assert!(choices_of("broken", Placement::on_cpu(CpuEngine::Auto))["made"].because.contains("no such layer"));
    assert!(choose(CpuEngine::OpenVino).is_err());
}

#[test]
fn of_two_precisions_the_faster_is_chosen_if_it_says_what_the_exact_one_says() {
    let far = [[2.0, -1.0], [-3.0, 0.5]];
    for (version, exact_rows, rows, winner) in [
        ("near in bf16", ROWS, ROWS, Engine::OpenVinoBf16),
        ("far in bf16", ROWS, far, Engine::OpenVino),
        ("far in both", far, far, Engine::Libtorch),
    ] {
        let contest = Contest { precisions: &[Precision::F32, Precision::Bf16], ..contest(version, CpuEngine::Auto) };
        for built in ["measured", "as measured"] {
            let chosen = contest.choose(
                || made(Engine::Libtorch, &ROWS, 12),
                |_, precision| match precision {
                    Precision::F32 => made(Engine::OpenVino, &exact_rows, 6),
                    Precision::Bf16 => made(Engine::OpenVinoBf16, &rows, 0),
                },
                ask,
            );
            assert_eq!(chosen.unwrap().engine, winner, "{version}, {built}");
        }
    }
}

#[test]
fn of_our_own_forms_the_one_in_bf16_serves_if_it_says_what_f32_says() {
    let far = [[2.0, -1.0], [-3.0, 0.5]];
    for (version, rows, winner) in [("own near", ROWS, Engine::OwnBf16), ("own far", far, Engine::Own)] {
        let contest = Contest { precisions: &[Precision::F32, Precision::Bf16], ..contest(version, CpuEngine::Auto) };
        let build = |precision| match precision {
            Precision::F32 => made(Engine::Own, &ROWS, 0),
            Precision::Bf16 => made(Engine::OwnBf16, &rows, 0),
        };
        let chosen = contest.own(build, |made| Ok(made.rows.clone())).unwrap();
        let choice = &choices_of(version, Placement::on_cpu(CpuEngine::Auto))["made"];
        assert_eq!((chosen.engine, choice.engine, choice.is_bf16), (winner, winner, winner == Engine::OwnBf16));
    }
    let contest = contest("own exact", CpuEngine::Auto);
    let build = |precision| made(if precision == Precision::F32 { Engine::Own } else { Engine::OwnBf16 }, &ROWS, 0);
    assert_eq!(contest.own(build, |_| unreachable!("there is nothing to compare")).unwrap().engine, Engine::Own);
}

#[test]
fn who_wants_f32_gets_no_bf16_on_a_cpu_and_a_choice_of_its_own() {
    let auto = Placement::on_cpu(CpuEngine::Auto);
    let exact = Placement { cpu_precision: CpuPrecision::F32, ..auto };
    assert!(!exact.takes_bf16(tch::Device::Cpu) && exact.takes_bf16(tch::Device::Cuda(0)));
    assert_eq!(auto.takes_bf16(tch::Device::Cpu), multiplies_bf16(tch::Device::Cpu));
    assert_eq!(Contest::new("exact", "made", exact).precisions, [Precision::F32]);
    Contest::new("exact", "made", exact).note(Engine::Libtorch, AS_PLACED);
    assert!(!choices_of("exact", exact)["made"].is_bf16 && choices_of("exact", auto).is_empty());
}
