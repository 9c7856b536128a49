// SPDX-License-Identifier: GPL-2.0

//! What may be in the place of what.

use syn::{BinOp, Expr, GenericArgument, PathArguments, Type};

/// A statement of it does something, and nothing is needed in its place.
pub(crate) fn acts(expr: &Expr) -> bool {
    match expr {
        Expr::Call(call) => !traces(&call.func),
        Expr::MethodCall(_) | Expr::Assign(_) => true,
        Expr::Try(inner) => acts(&inner.expr),
        Expr::Binary(binary) => operators(&binary.op).iter().any(|op| assigns(op)),
        _ => false,
    }
}

/// True for what is an operator and an assignment.
fn assigns(op: &str) -> bool {
    op.ends_with('=') && !matches!(op, "==" | "!=" | "<=" | ">=")
}

/// It only tells those who look on.
fn traces(function: &Expr) -> bool {
    matches!(function, Expr::Path(path) if path.path.segments[0].ident == "trace")
}

/// What may stand in an operator's place.
pub(crate) fn operators(op: &BinOp) -> &'static [&'static str] {
    match op {
        BinOp::Eq(_) => &["!="],
        BinOp::Ne(_) => &["=="],
        BinOp::Lt(_) => &["<=", ">="],
        BinOp::Le(_) => &["<", ">"],
        BinOp::Gt(_) => &[">=", "<="],
        BinOp::Ge(_) => &[">", "<"],
        BinOp::And(_) => &["||"],
        BinOp::Or(_) => &["&&"],
        BinOp::Add(_) => &["-", "*"],
        BinOp::Sub(_) => &["+", "/"],
        BinOp::Mul(_) => &["+", "/"],
        BinOp::Div(_) => &["*", "%"],
        BinOp::Rem(_) => &["/", "+"],
        BinOp::Shl(_) => &[">>"],
        BinOp::Shr(_) => &["<<"],
        BinOp::BitAnd(_) => &["|"],
        BinOp::BitOr(_) => &["&"],
        BinOp::BitXor(_) => &["|"],
        BinOp::AddAssign(_) => &["-="],
        BinOp::SubAssign(_) => &["+="],
        BinOp::MulAssign(_) => &["/="],
        BinOp::DivAssign(_) => &["*="],
        BinOp::ShlAssign(_) => &[">>="],
        BinOp::ShrAssign(_) => &["<<="],
        BinOp::BitAndAssign(_) => &["|="],
        BinOp::BitOrAssign(_) => &["&="],
        _ => &[],
    }
}

/// What a function may return that does not do its work. Some do not compile.
pub(crate) fn values(ty: &Type) -> Vec<String> {
    match ty {
        Type::Tuple(tuple) if tuple.elems.is_empty() => vec!["()".into()],
        Type::Tuple(tuple) => {
            let parts: Vec<_> = tuple.elems.iter().map(values).collect();
            let most = parts.iter().map(Vec::len).max().unwrap_or(0);
            if parts.iter().any(Vec::is_empty) {
                return vec![];
            }
            let nth = |n: usize| {
                let nth: Vec<_> = parts.iter().map(|part| &*part[n % part.len()]).collect();
                format!("({})", nth.join(", "))
            };
            (0..most).map(nth).collect()
        }
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else {
                return vec![];
            };
            let first_argument = match &last.arguments {
                PathArguments::AngleBracketed(list) => list.args.iter().find_map(|arg| match arg {
                    GenericArgument::Type(ty) => Some(values(ty)),
                    _ => None,
                }),
                _ => None,
            };
            let all = |prefix: &str, values: Vec<String>| {
                let all = values.into_iter().map(|value| format!("{prefix}({value})"));
                all.collect::<Vec<_>>()
            };
            match &*last.ident.to_string() {
                "bool" => vec!["true".into(), "false".into()],
                "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => {
                    vec!["0".into(), "1".into()]
                }
                "Result" => all("Ok", first_argument.unwrap_or_else(|| vec!["()".into()])),
                "Option" => {
                    let mut values = all("Some", first_argument.unwrap_or_default());
                    values.push("None".into());
                    values
                }
                _ => vec!["Default::default()".into()],
            }
        }
        _ => vec![],
    }
}
