from xray_jax.models.architecture import Naming, count_children, dim


def test_count_children_stops_at_a_gap() -> None:
    shapes = {
        "layer1.0.conv.weight": (1,),
        "layer1.1.conv.weight": (1,),
        "layer1.3.conv.weight": (1,),
        "layer10.0.a": (1,),
    }
    assert count_children(shapes, "layer1") == 2
    assert count_children(shapes, "layer2") == 0


def test_dim_of_what_is_not_there() -> None:
    shapes = {"a": (3, 4)}
    assert dim(shapes, "a", 1) == 4
    assert dim(shapes, "a", 2) == 0
    assert dim(shapes, "b") == 0


def test_renames_apply_in_order() -> None:
    naming = Naming("n", ((r"^a\.", "b."), (r"^b\.", "c.")))
    assert naming.rename("a.weight") == "c.weight"
